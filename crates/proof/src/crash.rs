//! Kills server and agents at random moments under load and counts what is lost or doubled.
//!
//! Real processes: one server, one simulated inverter per agent, real Modbus TCP, the real link. Each
//! agent writes a journal of the samples it has persisted. When the killing is over and the backlog
//! has drained, everything in the journals must stand in the server's raw history once, with its own
//! time and words, and everything in the history must have been answered by the inverter, which
//! keeps a journal too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use ecowatt_api::{Resolution, Telemetry};
use ecowatt_client::{Client, TelemetryQuery};

use crate::process::{Process, Program, free_port, wait_until};
use crate::random::Random;

/// How long the agents may take to empty their spools when the killing is over.
const DRAIN_MAX: Duration = Duration::from_secs(120);
/// How long a process may take until it answers.
const START_MAX: Duration = Duration::from_secs(20);
/// How long a process may take to stop in good order.
const STOP_MAX: Duration = Duration::from_secs(20);
/// An inverter checks the grid for a minute before it feeds in; at 60 times the world's pace that is
/// a second, and an agent that finds it idle takes it for asleep and polls slowly.
const INVERTER_START: Duration = Duration::from_secs(2);

/// Registers of the simulated inverter.
const COLUMNS: usize = 10;

/// Kills server and agents at random under load.
#[derive(Debug, Args)]
pub(crate) struct CrashArgs {
    /// How many processes to kill, one at a time.
    #[arg(long, default_value_t = 100)]
    kills: u32,
    /// Agents, each with an inverter of its own.
    #[arg(long, default_value_t = 3)]
    agents: u8,
    /// Makes the choice of victims and moments again; drawn and printed if absent.
    #[arg(long)]
    seed: Option<u64>,
    /// Keep the data folder for inspection.
    #[arg(long)]
    keep: bool,
}

/// A sample as journal and history both tell it: words in the order of the registers.
type Sample = (i64, [Option<u16>; COLUMNS]);

/// How often each sample stands somewhere.
type Count = BTreeMap<Sample, u32>;

#[derive(Debug, Default)]
struct Verdict {
    persisted: u64,
    stored: u64,
    lost: u64,
    doubled: u64,
    invented: u64,
}

impl Verdict {
    fn is_clean(&self) -> bool {
        self.lost + self.doubled + self.invented == 0
    }
}

pub(crate) fn run(args: &CrashArgs) -> Result<()> {
    let seed = args.seed.unwrap_or_else(|| u64::from(std::process::id()));
    writeln_stderr(&format!("seed {seed}, {} kills, {} agents", args.kills, args.agents));
    let folder = tempfile::tempdir().context("making a folder")?;
    let mut trial = Trial::start(folder.path(), args.agents)?;
    let verdict = trial.kill_at_random(args.kills, &mut Random::new(seed)).and_then(|kills| {
        let verdict = trial.finish()?;
        Ok((kills, verdict))
    });
    let is_bad = verdict.as_ref().map_or(true, |(_, verdict)| !verdict.is_clean());
    if args.keep || is_bad {
        writeln_stderr(&format!("kept {}", folder.keep().display()));
    }
    let (kills, verdict) = verdict?;
    writeln_stdout(&format!(
        "kills: {} server, {} agents; samples persisted {}, stored {}, lost {}, doubled {}, not sampled {}",
        kills.server,
        kills.agents,
        verdict.persisted,
        verdict.stored,
        verdict.lost,
        verdict.doubled,
        verdict.invented
    ));
    ensure!(verdict.persisted > 0, "no sample was taken, so nothing was shown");
    ensure!(verdict.is_clean(), "seed {seed}: samples were lost, doubled or invented");
    Ok(())
}

#[derive(Debug, Default)]
struct Kills {
    server: u32,
    agents: u32,
}

struct Trial {
    program: Program,
    folder: PathBuf,
    listen: String,
    client: Client,
    server: Process,
    agents: Vec<Agent>,
    /// Held so that they live as long as the trial.
    _inverters: Vec<Process>,
}

struct Agent {
    device: String,
    /// Where its inverter writes what it answered.
    answers: PathBuf,
    config: PathBuf,
    journal: PathBuf,
    log: PathBuf,
    process: Process,
}

impl Agent {
    fn start(program: &Program, config: &Path, log: &Path) -> Result<Process> {
        program.start(&["agent", "--config", text(config)?], log)
    }
}

impl Trial {
    fn start(folder: &Path, count: u8) -> Result<Self> {
        let program = Program::find()?;
        let data = folder.join("server");
        std::fs::create_dir_all(&data)?;
        let token =
            program.output(&["token", "create", "--data", text(&data)?, "--role", "owner"])?;
        let listen = format!("127.0.0.1:{}", free_port()?);
        let server = start_server(&program, folder, &listen)?;
        let client = Client::new(&format!("http://{listen}"), token.trim())?;
        wait_until("the server answers", START_MAX, || Ok(client.system().is_ok()))?;

        let mut agents = Vec::new();
        let mut inverters = Vec::new();
        for index in 0..count {
            let address = format!("127.0.0.1:{}", free_port()?);
            let log = folder.join(format!("inverter-{index}.log"));
            let answers = folder.join(format!("inverter-{index}.jsonl"));
            let seed = index.to_string();
            // Noon in fast motion, so that the readings differ from sample to sample.
            let inverter = [
                "inverter",
                "--listen",
                &address,
                "--profile",
                "ecowatt/seed-sim",
                "--seed",
                &seed,
                "--start",
                "2026-06-21T08:00:00Z",
                "--speed",
                "60",
                "--journal",
                text(&answers)?,
            ];
            inverters.push(program.start(&inverter, &log)?);
            std::thread::sleep(INVERTER_START);
            let place = Place { folder: folder.join(format!("agent-{index}")), answers };
            agents.push(start_agent(&program, &client, place, &listen, &address)?);
        }
        Ok(Self {
            program,
            folder: folder.to_owned(),
            listen,
            client,
            server,
            agents,
            _inverters: inverters,
        })
    }

    fn kill_at_random(&mut self, kills: u32, random: &mut Random) -> Result<Kills> {
        let mut done = Kills::default();
        for _ in 0..kills {
            std::thread::sleep(Duration::from_millis(100 + random.below(1_200)));
            let down = Duration::from_millis(random.below(400));
            // Every third victim is the server.
            if random.below(3) == 0 {
                self.server.kill()?;
                std::thread::sleep(down);
                self.server = start_server(&self.program, &self.folder, &self.listen)?;
                done.server += 1;
            } else {
                let victim = usize::try_from(random.below(self.agents.len() as u64))?;
                let agent = &mut self.agents[victim];
                agent.process.kill()?;
                std::thread::sleep(down);
                agent.process = Agent::start(&self.program, &agent.config, &agent.log)?;
                done.agents += 1;
            }
        }
        Ok(done)
    }

    /// Ends the load, waits for the backlog to drain, and compares.
    fn finish(&mut self) -> Result<Verdict> {
        wait_until("the server answers", START_MAX, || Ok(self.client.system().is_ok()))?;
        for agent in &mut self.agents {
            ensure!(!agent.process.has_ended()?, "an agent ended by itself, see its log");
            agent.process.stop(STOP_MAX)?;
        }
        let mut verdict = Verdict::default();
        for index in 0..self.agents.len() {
            let agent = &mut self.agents[index];
            let persisted = journal(&agent.journal)?;
            // The last agent may have stopped with a backlog: a fresh start delivers it. What it
            // samples meanwhile stands in its journal too.
            agent.process = Agent::start(&self.program, &agent.config, &agent.log)?;
            let (client, device) = (&self.client, &agent.device);
            wait_until("the backlog has drained", DRAIN_MAX, || {
                let stored = history(client, device)?;
                Ok(persisted.keys().all(|sample| stored.contains_key(sample)))
            })
            .or_else(|error| {
                writeln_stderr(&format!("{device}: {error:#}"));
                Ok::<_, anyhow::Error>(())
            })?;
            agent.process.stop(STOP_MAX)?;
            let stored = history(client, device)?;
            let persisted_at_last = journal(&agent.journal)?;
            // Samples of the last start may still be in its spool; only the earlier ones are judged
            // lost, all are judged doubled or invented.
            verdict.persisted += total(&persisted);
            verdict.stored += total(&stored);
            for sample in persisted.keys().filter(|sample| !stored.contains_key(*sample)) {
                writeln_stderr(&format!("{device}: lost {sample:?}"));
                verdict.lost += 1;
            }
            verdict.doubled += stored
                .iter()
                .map(|(sample, times)| {
                    let once = persisted_at_last.get(sample).copied().unwrap_or(1);
                    if *times > once {
                        writeln_stderr(&format!("{device}: {times} times {sample:?}"));
                    }
                    u64::from(times.saturating_sub(once))
                })
                .sum::<u64>();
            // A kill between persisting a sample and noting it leaves one that only the inverter's
            // own journal knows; one without words claims nothing that an inverter said.
            let answered = answers(&agent.answers)?;
            let is_known = |sample: &Sample| {
                let words: Option<Vec<u16>> = sample.1.iter().copied().collect();
                persisted_at_last.contains_key(sample)
                    || sample.1.iter().all(Option::is_none)
                    || words.is_some_and(|words| answered.contains(&words))
            };
            for sample in stored.keys().filter(|sample| !is_known(sample)) {
                writeln_stderr(&format!("{device}: not sampled {sample:?}"));
                verdict.invented += 1;
            }
        }
        Ok(verdict)
    }
}

fn start_server(program: &Program, folder: &Path, listen: &str) -> Result<Process> {
    let data = folder.join("server");
    program
        .start(&["serve", "--listen", listen, "--data", text(&data)?], &folder.join("server.log"))
}

/// Where an agent keeps its things, and its inverter its answers.
struct Place {
    folder: PathBuf,
    answers: PathBuf,
}

fn start_agent(
    program: &Program,
    client: &Client,
    place: Place,
    server: &str,
    inverter: &str,
) -> Result<Agent> {
    let Place { folder, answers } = place;
    let request = ecowatt_api::EnrolDevice {
        name: folder.file_name().unwrap_or_default().to_string_lossy().into(),
        site: ecowatt_api::NewSite { name: "Trial".into(), time_zone: Some("UTC".into()) },
        valid_for_s: None,
        device: None,
    };
    let enrolment = client.enrol_device(&request).context("enrolling")?;
    std::fs::create_dir_all(&folder)?;
    let config = folder.join("agent.toml");
    let journal = folder.join("samples.csv");
    let log = folder.join("agent.log");
    let toml = format!(
        "server = \"http://{server}\"\ndata = \"{data}\"\nclaim_code = \"{code}\"\n\
         sample_log = \"{journal}\"\n\
         sample_interval = \"200ms\"\n\
         [upload]\ninterval = \"1s\"\n\
         [[inverter]]\nname = \"inverter\"\ntransport = \"tcp://{inverter}\"\nunit = 17\n\
         profile = \"ecowatt/seed-sim\"\n",
        data = folder.join("data").display(),
        code = enrolment.claim_code,
        journal = journal.display(),
    );
    std::fs::write(&config, toml).context("writing an agent's configuration")?;
    let process = Agent::start(program, &config, &log)?;
    Ok(Agent { device: enrolment.device, answers, config, journal, log, process })
}

/// Reads `epoch,sequence,source,t_ms,word|word|…,mark|mark|…`; a cut last line was not persisted.
fn journal(path: &Path) -> Result<Count> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let mut count = Count::new();
    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let fields: Vec<&str> = line.trim_end().split(',').collect();
        let [_, _, _, t, words, marks] = fields[..] else { bail!("a journal line {line:?}") };
        let mut sample = [None; COLUMNS];
        for ((cell, word), mark) in sample.iter_mut().zip(words.split('|')).zip(marks.split('|')) {
            *cell = (mark == "0").then(|| word.parse()).transpose()?;
        }
        *count.entry((t.parse()?, sample)).or_default() += 1;
    }
    Ok(count)
}

/// The words of every read that an inverter answered.
fn answers(path: &Path) -> Result<BTreeSet<Vec<u16>>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    text.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line)?;
            let words = line["words"].as_array().context("a journal line has words")?;
            let word = |word: &serde_json::Value| word.as_u64().and_then(|w| u16::try_from(w).ok());
            words.iter().map(word).collect::<Option<_>>().context("words are 16 bits wide")
        })
        .collect()
}

/// The server's raw history of a device, as registers.
fn history(client: &Client, device: &str) -> Result<Count> {
    let detail = client.find_device(device)?;
    let Some(last) = detail.device.last_sample else { return Ok(Count::new()) };
    let to = rfc3339(unix_ms(&last)? + 1)?;
    let mut from = detail.device.created;
    let mut count = Count::new();
    loop {
        let query = TelemetryQuery {
            from: Some(from.clone()),
            to: Some(to.clone()),
            resolution: Resolution::Raw,
            points: Vec::new(),
            inverter: 0,
        };
        let page = client.list_telemetry(device, &query)?;
        // A page may end between two samples of one instant, which is what this looks for: the last
        // instant of a page is left to the next one.
        let end = page.t_ms.last().copied().filter(|_| page.truncated);
        let columns = columns(&page)?;
        for (row, t) in page.t_ms.iter().enumerate().filter(|(_, t)| Some(**t) != end) {
            let mut sample = [None; COLUMNS];
            for (cell, column) in sample.iter_mut().zip(&columns) {
                *cell = column[row];
            }
            *count.entry((*t, sample)).or_default() += 1;
        }
        let Some(end) = end else { return Ok(count) };
        from = rfc3339(end)?;
    }
}

/// The registers of a page of history, column by column.
fn columns(page: &Telemetry) -> Result<Vec<Vec<Option<u16>>>> {
    let column = |point: &&str| {
        let series = page.series.iter().find(|series| series.point == **point);
        let series = series.with_context(|| format!("the history lacks {point}"))?;
        let factor = 10f64.powi(i32::from(series.decimals));
        Ok(series.value.iter().map(|value| value.map(|v| register(v * factor))).collect())
    };
    REGISTERS.iter().map(column).collect()
}

fn unix_ms(text: &str) -> Result<i64> {
    Ok(text.parse::<jiff::Timestamp>().with_context(|| format!("reading {text}"))?.as_millisecond())
}

fn rfc3339(unix_ms: i64) -> Result<String> {
    Ok(jiff::Timestamp::from_millisecond(unix_ms)?.to_string())
}

/// The points of the seed map in the order of its registers.
const REGISTERS: [&str; COLUMNS] = [
    "ac.l1.voltage",
    "ac.l1.current",
    "ac.frequency",
    "pv.1.voltage",
    "pv.2.voltage",
    "pv.1.current",
    "pv.2.current",
    "temp.internal",
    "control.p_limit",
    "ac.power",
];

/// The word behind a scaled value; negative ones are two's complement.
fn register(value: f64) -> u16 {
    #[expect(clippy::cast_possible_truncation, reason = "points of the map are 16 bits wide")]
    let whole = value.round() as i32;
    (whole & 0xffff).try_into().unwrap_or(0)
}

fn total(count: &Count) -> u64 {
    count.values().map(|times| u64::from(*times)).sum()
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("paths are UTF-8")
}

#[expect(clippy::print_stderr, reason = "progress is for people")]
fn writeln_stderr(line: &str) {
    eprintln!("{line}");
}

#[expect(clippy::print_stdout, reason = "the verdict is the output")]
fn writeln_stdout(line: &str) {
    println!("{line}");
}

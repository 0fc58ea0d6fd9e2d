//! A server, agents and simulated inverters as real processes. At the end of a trial all data gets
//! time to arrive, then it is judged.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use ecowatt_client::Client;
use ecowatt_model::UnixMs;

use crate::process::{Process, Program, free_port, text, wait_until};
use crate::verdict::{Testimony, Verdict, answers, history, sample_log};

/// How long a process may take until it answers.
pub(crate) const START_MAX: Duration = Duration::from_secs(60);
/// How long an orderly stop of a process may take.
pub(crate) const STOP_MAX: Duration = Duration::from_secs(60);
/// How long the agents may take to empty their spools after the last fault.
const DRAIN_MAX: Duration = Duration::from_secs(300);
/// An inverter checks the grid for a minute before it feeds in; at 60 times real time that is
/// a second, and an agent that finds it idle takes it for asleep and polls slowly.
const INVERTER_START: Duration = Duration::from_secs(2);
/// When inverters' time starts, 2026-06-21T08:00:00Z: readings differ from sample to sample.
const MORNING: UnixMs = UnixMs(1_782_028_800_000);
/// Speed of the inverters' time in trials of up to ten minutes.
const SPEED: u32 = 60;

/// All processes of a trial; they end with it.
pub(crate) struct Rig {
    program: Program,
    folder: PathBuf,
    data: PathBuf,
    pub(crate) listen: String,
    /// An owner's token.
    pub(crate) token: String,
    pub(crate) client: Client,
    pub(crate) server: Process,
    pub(crate) agents: Vec<Agent>,
    pub(crate) inverters: Vec<Inverter>,
}

/// An agent and its files.
pub(crate) struct Agent {
    pub(crate) device: String,
    pub(crate) process: Process,
    config: PathBuf,
    sample_log: PathBuf,
    log: PathBuf,
}

/// An inverter and its journals, one for each run.
pub(crate) struct Inverter {
    pub(crate) address: String,
    /// Of its control port.
    pub(crate) control: String,
    pub(crate) process: Process,
    journals: Vec<PathBuf>,
}

impl Inverter {
    pub(crate) fn journals(&self) -> &[PathBuf] {
        &self.journals
    }
}

/// Creates an owner token for a server that was just started, as soon as it has a store, and waits
/// until the server accepts the token.
pub(crate) fn meet(
    program: &Program,
    server: &mut Process,
    listen: &str,
    data: &str,
) -> Result<(String, Client)> {
    let mut made = Err(anyhow!("not tried"));
    let waited = wait_until("a token can be created", START_MAX, || {
        made = program.output(&["token", "create", "--data", data, "--role", "owner"]);
        Ok(made.is_ok() || server.has_ended()?)
    });
    let token = made.and_then(|token| waited.map(|()| token)).context("creating a token")?;
    let token = token.trim().to_owned();
    let client = Client::new(&format!("http://{listen}"), &token)?;
    wait_for_answer(server, &client)?;
    Ok((token, client))
}

/// Waits until a server answers; fails at once if it has ended.
fn wait_for_answer(server: &mut Process, client: &Client) -> Result<()> {
    wait_until("the server answers", START_MAX, || {
        ensure!(!server.has_ended()?, "the server has ended by itself, see its log");
        Ok(client.system().is_ok())
    })
}

/// The addresses for an agent, and its data folder.
pub(crate) struct Routes {
    pub(crate) server: String,
    pub(crate) inverter: String,
    pub(crate) data: PathBuf,
}

impl Rig {
    /// Starts a server with its data in `data`, and waits until it answers.
    pub(crate) fn start(folder: &Path, data: &Path) -> Result<Self> {
        let program = Program::find()?;
        std::fs::create_dir_all(data)?;
        let listen = format!("127.0.0.1:{}", free_port()?);
        let mut server = serve(&program, folder, data, &listen)?;
        let (token, client) = meet(&program, &mut server, &listen, text(data)?)?;
        Ok(Self {
            program,
            folder: folder.to_owned(),
            data: data.to_owned(),
            listen,
            token,
            client,
            server,
            agents: Vec::new(),
            inverters: Vec::new(),
        })
    }

    /// Starts another inverter and returns its address.
    pub(crate) fn add_inverter(&mut self) -> Result<String> {
        let number = self.inverters.len();
        let address = format!("127.0.0.1:{}", free_port()?);
        let control = format!("127.0.0.1:{}", free_port()?);
        let mut journals = Vec::new();
        let places = (address.as_str(), control.as_str());
        let process = simulate(&self.program, &self.folder, number, places, &mut journals)?;
        self.inverters.push(Inverter { address: address.clone(), control, process, journals });
        std::thread::sleep(INVERTER_START);
        Ok(address)
    }

    /// Enrols a device and starts its agent. The first agent has the first inverter, and so on.
    pub(crate) fn add_agent(&mut self, routes: &Routes) -> Result<()> {
        let name = format!("agent-{}", self.agents.len());
        let request = ecowatt_api::CreateDevice {
            name: name.clone(),
            site: ecowatt_api::NewSite { name: "Trial".into(), time_zone: Some("UTC".into()) },
            valid_for_s: None,
        };
        let enrolment = self.client.create_device(&request).context("enrolling")?;
        let config = self.folder.join(format!("{name}.toml"));
        let sample_log = self.folder.join(format!("{name}.csv"));
        let log = self.folder.join(format!("{name}.log"));
        let toml = format!(
            "server = \"http://{server}\"\ndata = \"{data}\"\nclaim_code = \"{code}\"\n\
             sample_log = \"{sample_log}\"\nsample_interval = \"200ms\"\n\
             [upload]\ninterval = \"1s\"\n\
             [[inverter]]\nname = \"inverter\"\ntransport = \"tcp://{inverter}\"\nunit = 17\n\
             profile = \"ecowatt/seed-sim\"\n",
            server = routes.server,
            data = routes.data.display(),
            code = enrolment.claim_code,
            sample_log = sample_log.display(),
            inverter = routes.inverter,
        );
        std::fs::write(&config, toml).context("writing an agent's configuration")?;
        let process = self.program.start(&["agent", "--config", text(&config)?], &log)?;
        let device = enrolment.device;
        self.agents.push(Agent { device, process, config, sample_log, log });
        Ok(())
    }

    /// Waits until every agent has delivered something.
    pub(crate) fn wait_for_uploads(&self) -> Result<()> {
        for agent in &self.agents {
            wait_until(&format!("{} has delivered", agent.device), START_MAX, || {
                Ok(self.client.find_device(&agent.device)?.link.batches > 0)
            })?;
        }
        Ok(())
    }

    /// Restarts the server after it was killed.
    pub(crate) fn restart_server(&mut self) -> Result<()> {
        self.server = serve(&self.program, &self.folder, &self.data, &self.listen)?;
        Ok(())
    }

    /// Restarts an agent after it was killed.
    pub(crate) fn restart_agent(&mut self, number: usize) -> Result<()> {
        let agent = &mut self.agents[number];
        let args = ["agent", "--config", text(&agent.config)?];
        agent.process = self.program.start(&args, &agent.log)?;
        Ok(())
    }

    /// Restarts an inverter after it was killed: in the morning again, with other clouds.
    pub(crate) fn restart_inverter(&mut self, number: usize) -> Result<()> {
        let Self { program, folder, inverters, .. } = self;
        let Inverter { address, control, process, journals } = &mut inverters[number];
        *process = simulate(program, folder, number, (address, control), journals)?;
        Ok(())
    }

    /// Where the server writes its log.
    pub(crate) fn server_log(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    /// Stops the load, lets the backlogs drain, and compares. `note` is called before slow steps.
    pub(crate) fn judge(&mut self, note: &mut dyn FnMut(&str)) -> Result<Verdict> {
        wait_for_answer(&mut self.server, &self.client)?;
        for agent in &mut self.agents {
            ensure!(!agent.process.has_ended()?, "{} ended by itself, see its log", agent.device);
            agent.process.stop(STOP_MAX)?;
        }
        let mut verdict = Verdict::default();
        for number in 0..self.agents.len() {
            note(&format!("{}: waiting for its backlog", self.agents[number].device));
            let persisted = sample_log(&self.agents[number].sample_log)?;
            // An agent that could not reach the server for long waits up to five minutes before it
            // tries again. A restarted one delivers at once; its new samples are in its log too.
            self.restart_agent(number)?;
            let (client, agent) = (&self.client, &mut self.agents[number]);
            let device = &agent.device;
            let drained = wait_until("the backlog has drained", DRAIN_MAX, || {
                let stored = history(client, device)?;
                Ok(persisted.keys().all(|sample| stored.contains_key(sample)))
            });
            if let Err(error) = drained {
                note(&format!("{device}: {error:#}"));
            }
            agent.process.stop(STOP_MAX)?;
            let testimony = Testimony {
                persisted,
                persisted_at_last: sample_log(&agent.sample_log)?,
                answers: answers(self.inverters[number].journals.iter().map(PathBuf::as_path))?,
                stored: history(client, device)?,
            };
            verdict.add(Verdict::of(device, &testimony));
        }
        Ok(verdict)
    }
}

fn serve(program: &Program, folder: &Path, data: &Path, listen: &str) -> Result<Process> {
    let args = ["serve", "--listen", listen, "--data", text(data)?];
    program.start(&args, &folder.join("server.log"))
}

fn simulate(
    program: &Program,
    folder: &Path,
    number: usize,
    (address, control): (&str, &str),
    journals: &mut Vec<PathBuf>,
) -> Result<Process> {
    let journal = folder.join(format!("inverter-{number}.{}.jsonl", journals.len()));
    // Each run has its own seed, or it would repeat the words of the previous one.
    let seed = (1_000 * number + journals.len()).to_string();
    let speed = SPEED.to_string();
    let start = jiff::Timestamp::from_millisecond(MORNING.0)?.to_string();
    let args = [
        "inverter",
        "--listen",
        address,
        "--control",
        control,
        "--profile",
        "ecowatt/seed-sim",
        "--seed",
        &seed,
        "--start",
        &start,
        "--speed",
        &speed,
        "--journal",
        text(&journal)?,
    ];
    let process = program.start(&args, &folder.join(format!("inverter-{number}.log")))?;
    journals.push(journal);
    Ok(process)
}

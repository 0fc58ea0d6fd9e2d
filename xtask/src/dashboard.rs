//! The dashboard: building it, checking that the committed files match the source, and its tests in
//! a real browser against the real server.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::install::{Missing, debian_packages, has};
use crate::run::{Root, cargo, check, command, output};

/// Vite needs it (see `dashboard/package.json`).
const NODE_MAJOR_MIN: u32 = 20;

/// How long a demonstration may take until its server answers.
const DEMO_READY_MAX: Duration = Duration::from_secs(60);

/// Installs the packages, makes the API's types from its document, and builds `dashboard/dist`.
pub(crate) fn build(root: &Root) -> Result<()> {
    let folder = root.join("dashboard");
    check(command(root, "npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&folder))?;
    check(command(root, "npm").args(["run", "types"]).current_dir(&folder))?;
    check(command(root, "npm").args(["run", "check"]).current_dir(&folder))?;
    check(command(root, "npm").args(["test"]).current_dir(&folder))?;
    check(command(root, "npm").args(["run", "build"]).current_dir(&folder))
}

/// Builds again and fails if the result differs from the committed files.
pub(crate) fn verify(root: &Root) -> Result<()> {
    recent_node(root)?;
    build(root)?;
    let made = ["dashboard/dist", "dashboard/src/api/schema.ts"];
    let changed = output(command(root, "git").args(["status", "--porcelain"]).args(made))?;
    if !changed.is_empty() {
        bail!("made files of the dashboard differ from what is committed:\n{changed}");
    }
    Ok(())
}

/// Checks for a browser and Node, or installs them.
pub(crate) fn browser_is_there(root: &Root, missing: Missing) -> Result<()> {
    let packages: Vec<&str> = [("chromium", "chromium"), ("node", "nodejs"), ("npm", "npm")]
        .into_iter()
        .filter(|(program, _)| !has(program))
        .map(|(_, package)| package)
        .collect();
    if !packages.is_empty() {
        debian_packages(root, &packages, missing)?;
    }
    recent_node(root)
}

/// Runs the browser tests against a demonstration.
pub(crate) fn browser(root: &Root) -> Result<()> {
    let folder = root.join("dashboard");
    check(command(root, "npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&folder))?;
    check(cargo(root).args(["build", "--release", "--package", "ecowatt"]))?;
    let mut demo = Demo::start(root)?;
    let tests = check(
        command(root, "npm")
            .args(["run", "e2e"])
            .env("ECOWATT_DEMO_JSON", demo.data.join("demo.json"))
            .env("ECOWATT", root.target().join("release/ecowatt"))
            .env("ECOWATT_SCREENSHOTS", root.target().join("screenshots"))
            .current_dir(&folder),
    );
    demo.stop();
    tests
}

/// Opens every component in every state, in these of the four views: one of each width and of each
/// theme. All four take twice as long; `npm run gallery` opens them.
const GALLERY_VIEWS: &str = "desk-light,phone-dark";

/// Checks the gallery in a browser, without a server.
pub(crate) fn gallery(root: &Root) -> Result<()> {
    let folder = root.join("dashboard");
    check(command(root, "npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&folder))?;
    check(
        command(root, "npm")
            .args(["run", "gallery"])
            .env("ECOWATT_VIEWS", GALLERY_VIEWS)
            .env("ECOWATT_SCREENSHOTS", root.target().join("screenshots"))
            .current_dir(&folder),
    )
}

/// Whether Node is recent enough for the dashboard's tools.
fn recent_node(root: &Root) -> Result<()> {
    let version = output(command(root, "node").arg("--version"))?;
    let major = version.trim().strip_prefix('v').and_then(|v| v.split('.').next()?.parse().ok());
    let major: u32 = major.with_context(|| format!("{version:?} is not a version of Node"))?;
    anyhow::ensure!(major >= NODE_MAJOR_MIN, "Node {NODE_MAJOR_MIN} is needed, found {major}");
    Ok(())
}

/// A demonstration that ends with this value.
struct Demo {
    process: Child,
    data: std::path::PathBuf,
}

impl Demo {
    fn start(root: &Root) -> Result<Self> {
        let data = root.target().join("browser-demo");
        if data.exists() {
            std::fs::remove_dir_all(&data).context("clearing the last demonstration's data")?;
        }
        let mut demo = command(root, root.target().join("release/ecowatt"));
        demo.args(["demo", "--listen", "127.0.0.1:0", "--for", "20m", "--data"])
            .arg(&data)
            .stderr(Stdio::piped());
        let mut process = demo.spawn().context("starting the demonstration")?;
        let stderr = process.stderr.take().context("its standard error is piped")?;
        // Reading must not stop, or the process blocks on a full pipe.
        std::thread::spawn(move || BufReader::new(stderr).lines().for_each(drop));
        let mut demo = Self { process, data };
        let step = Duration::from_millis(100);
        let mut waited = Duration::ZERO;
        while !demo.data.join("demo.json").exists() {
            if let Some(status) = demo.process.try_wait()? {
                bail!("the demonstration ended with {status} before it was ready");
            }
            if waited > DEMO_READY_MAX {
                demo.stop();
                bail!("the demonstration was not ready after {DEMO_READY_MAX:?}");
            }
            std::thread::sleep(step);
            waited += step;
        }
        Ok(demo)
    }

    fn stop(&mut self) {
        // It may have ended by itself already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.stop();
    }
}

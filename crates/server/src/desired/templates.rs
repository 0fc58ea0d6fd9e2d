//! Templates: settings that many devices share, and what a change of them would do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ecowatt_model::DeviceNumber;
use ecowatt_store::limits::TEMPLATE_DEVICES_PER_COMMIT;
use ecowatt_store::{
    Author, ConfigPreview, ConfigTemplate, EditTemplate, SettingKey, Settings, Store, StoreError,
    TemplateError, TemplateVersion,
};
use tokio::sync::{Notify, watch};

use super::setting_text::{self, SettingError};
use super::{SettingChange, difference};
use crate::fleet::Reached;
use crate::limits::TEMPLATE_NAME_BYTES_MAX;
use crate::live::Live;
use crate::stop::stopped;
use crate::waiting_devices::WaitingDevices;

/// How often outdated devices are looked for without a change in this process.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Rest after a commit, which leaves the writer to uploads.
const PAUSE: Duration = Duration::from_millis(20);

/// A change of a template as an operator writes it.
#[derive(Debug, Clone, Default)]
pub(crate) struct TemplateRequest {
    pub(crate) name: String,
    pub(crate) set: BTreeMap<String, String>,
    pub(crate) unset: Vec<String>,
    pub(crate) expected: Option<u32>,
}

/// Why a template was not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeTemplateError {
    #[error("a template's name has 1 to {TEMPLATE_NAME_BYTES_MAX} letters, digits, `-` and `_`")]
    Name,
    #[error("`{0}` is for one inverter; a template has the same values for all inverters")]
    OfInverter(String),
    #[error(transparent)]
    Setting(#[from] SettingError),
    #[error(transparent)]
    Template(#[from] TemplateError),
}

/// What a change of a template would change on a device.
#[derive(Debug, Clone)]
pub(crate) struct DevicePreview {
    pub(crate) device: DeviceNumber,
    pub(crate) changes: Vec<SettingChange>,
}

/// One page of a preview, by device.
#[derive(Debug, Clone)]
pub(crate) struct PreviewPage {
    pub(crate) devices: Vec<DevicePreview>,
    pub(crate) next: Option<DeviceNumber>,
}

/// A version of a template, and what differs from the one before.
#[derive(Debug, Clone)]
pub(crate) struct TemplateLine {
    pub(crate) version: TemplateVersion,
    pub(crate) changes: Vec<SettingChange>,
}

/// One page of a template's history, newest first.
#[derive(Debug, Clone)]
pub(crate) struct TemplateHistoryPage {
    pub(crate) lines: Vec<TemplateLine>,
    pub(crate) next: Option<u32>,
}

/// Reads and changes templates.
#[derive(Debug, Clone)]
pub(crate) struct Templates {
    store: Store,
    live: Live,
    waiting: WaitingDevices,
    /// Wakes the reconciler after a change.
    changed: Arc<Notify>,
}

impl Templates {
    #[must_use]
    pub(crate) fn new(store: Store, live: Live, waiting: WaitingDevices) -> Self {
        Self { store, live, waiting, changed: Arc::default() }
    }

    /// Tells readers and the device itself that its configuration has changed.
    fn publish(&self, device: DeviceNumber) {
        self.live.publish_config(device);
        self.waiting.tell(device);
    }

    /// Returns all templates by name.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn list(&self) -> Result<Vec<ConfigTemplate>, StoreError> {
        self.store.list_templates().await
    }

    /// Returns a template.
    ///
    /// # Errors
    /// If no template has that name, or the store fails.
    pub(crate) async fn find(&self, name: &str) -> Result<ConfigTemplate, TemplateError> {
        self.store.find_template(name.into()).await?.ok_or(TemplateError::Unknown)
    }

    /// Creates a template.
    ///
    /// # Errors
    /// If the name, a setting or a value is not allowed, or the store fails.
    pub(crate) async fn create(
        &self,
        by: Author,
        request: &TemplateRequest,
    ) -> Result<(), ChangeTemplateError> {
        let name = &request.name;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > TEMPLATE_NAME_BYTES_MAX || !name.chars().all(is_plain) {
            return Err(ChangeTemplateError::Name);
        }
        let edit = checked(request)?;
        Ok(self.store.create_template(by, edit.name, edit.set).await?)
    }

    /// Changes a template; its devices follow. Returns whether anything changed.
    ///
    /// # Errors
    /// If a setting or value is not allowed, another version was expected, or the store fails.
    pub(crate) async fn edit(
        &self,
        by: Author,
        request: &TemplateRequest,
    ) -> Result<bool, ChangeTemplateError> {
        let is_changed = self.store.edit_template(by, checked(request)?).await?;
        self.changed.notify_one();
        Ok(is_changed)
    }

    /// Deletes a template that no device uses.
    ///
    /// # Errors
    /// If no template has that name, devices use it, or the store fails.
    pub(crate) async fn delete(&self, by: Author, name: &str) -> Result<(), TemplateError> {
        self.store.delete_template(by, name.into()).await
    }

    /// Assigns a template to a device, or none; returns whether anything changed.
    ///
    /// # Errors
    /// If no template has that name, or the store fails.
    pub(crate) async fn assign(
        &self,
        by: Author,
        device: &Reached,
        name: Option<&str>,
    ) -> Result<bool, TemplateError> {
        let device = device.number();
        let is_changed = self.store.assign_template(by, device, name.map(Into::into)).await?;
        if is_changed {
            self.publish(device);
        }
        Ok(is_changed)
    }

    /// Assigns a template to devices, or none; returns how many had another one. Each commit has some of
    /// them, and a call that was cut short can be repeated.
    ///
    /// # Errors
    /// As [`Templates::assign`].
    pub(crate) async fn assign_all(
        &self,
        by: &Author,
        devices: &[Reached],
        name: Option<&str>,
    ) -> Result<usize, TemplateError> {
        let per_commit = usize::try_from(TEMPLATE_DEVICES_PER_COMMIT).unwrap_or(usize::MAX);
        let mut count = 0;
        for some in devices.chunks(per_commit) {
            let some = some.iter().map(Reached::number).collect();
            let changed =
                self.store.assign_templates(by.clone(), some, name.map(Into::into)).await?;
            count += changed.len();
            for device in changed {
                self.publish(device);
            }
        }
        Ok(count)
    }

    /// Returns a template's versions below the given one.
    ///
    /// # Errors
    /// If no template has that name, or the store fails.
    pub(crate) async fn history(
        &self,
        name: &str,
        before: Option<u32>,
        limit: u32,
    ) -> Result<TemplateHistoryPage, TemplateError> {
        self.find(name).await?;
        // One more, which the last one of the page is compared with.
        let wanted = limit.saturating_add(1);
        let versions = self.store.list_template_versions(name.into(), before, wanted).await?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let nothing = Settings::default();
        let line = |(at, version): (usize, &TemplateVersion)| TemplateLine {
            changes: difference(
                versions.get(at + 1).map_or(&nothing, |older| &older.settings),
                &version.settings,
            ),
            version: version.clone(),
        };
        let lines: Vec<_> = versions.iter().take(limit).enumerate().map(line).collect();
        let has_more = versions.len() > limit;
        let next = lines.last().map(|line| line.version.version).filter(|_| has_more);
        Ok(TemplateHistoryPage { lines, next })
    }

    /// Returns which devices a change would change, and how, without changing anything.
    ///
    /// # Errors
    /// As [`Templates::edit`].
    pub(crate) async fn preview(
        &self,
        request: &TemplateRequest,
        after: Option<DeviceNumber>,
        limit: usize,
    ) -> Result<PreviewPage, ChangeTemplateError> {
        let edit = checked(request)?;
        let held = self.find(&edit.name).await?;
        if edit.expected.is_some_and(|expected| expected != held.version) {
            return Err(TemplateError::OtherVersion(held.version).into());
        }
        let mut settings = held.settings;
        settings.change(&edit.set, &edit.unset);
        // One more, which tells whether there is another page.
        let found = self.store.preview_template(edit.name, settings, after, limit + 1).await;
        let mut found = found.map_err(TemplateError::from)?;
        let has_more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().map(|last| last.device).filter(|_| has_more);
        let device = |ConfigPreview { device, before, after }| DevicePreview {
            device,
            changes: difference(&before, &after),
        };
        Ok(PreviewPage { devices: found.into_iter().map(device).collect(), next })
    }

    /// Lets devices follow their templates until `stop` is true. It takes no input but the store, so
    /// it may run any time and in any server.
    pub(crate) async fn reconcile(self, mut stop: watch::Receiver<bool>) {
        loop {
            let pause = match self.store.derive_outdated().await {
                Ok(devices) if devices.is_empty() => LOOK_EVERY,
                Ok(devices) => {
                    for device in devices {
                        self.publish(device);
                    }
                    PAUSE
                }
                Err(error) => {
                    tracing::warn!(%error, "changed templates have not reached all devices yet");
                    LOOK_EVERY
                }
            };
            tokio::select! {
                _ = stopped(&mut stop) => return,
                () = self.changed.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

/// Checks a request against the list of settings.
fn checked(request: &TemplateRequest) -> Result<EditTemplate, ChangeTemplateError> {
    let of_all = |name: &str| {
        let (setting, key) = setting_text::key(name)?;
        match key {
            SettingKey { source: None, .. } => Ok((setting, key)),
            SettingKey { source: Some(_), .. } => Err(ChangeTemplateError::OfInverter(name.into())),
        }
    };
    let mut edit = EditTemplate {
        name: request.name.clone(),
        set: Settings::default(),
        unset: Vec::new(),
        expected: request.expected,
    };
    for name in &request.unset {
        edit.unset.push(of_all(name)?.1);
    }
    for (name, value) in &request.set {
        let (setting, key) = of_all(name)?;
        if edit.unset.contains(&key) {
            return Err(SettingError::Both(name.clone()).into());
        }
        edit.set.0.insert(key, setting_text::value(setting, value)?);
    }
    Ok(edit)
}

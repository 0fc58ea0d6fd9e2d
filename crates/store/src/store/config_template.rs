//! Templates of configurations.

use ecowatt_model::DeviceNumber;

use crate::audit::Audited;
use crate::limits::{TEMPLATE_DEVICES_PER_COMMIT, TEMPLATE_VERSIONS_KEPT};
use crate::sqlite::config_template;
use crate::{
    Author, ConfigPreview, ConfigTemplate, EditTemplate, Settings, Store, StoreError,
    TemplateError, TemplateVersion,
};

/// Templates of configurations.
impl Store {
    /// Returns all templates by name.
    pub async fn list_templates(&self) -> Result<Vec<ConfigTemplate>, StoreError> {
        self.sqlite().read(config_template::list_templates).await
    }

    /// Returns a template.
    pub async fn find_template(&self, name: String) -> Result<Option<ConfigTemplate>, StoreError> {
        self.sqlite().read(move |db| config_template::find_template(db, &name)).await
    }

    /// Creates a template that no device uses yet.
    pub async fn create_template(
        &self,
        by: Author,
        name: String,
        settings: Settings,
    ) -> Result<(), TemplateError> {
        let (author, subject) = (by.clone(), name.clone());
        self.sqlite()
            .change(
                Audited::new(by, "config_template.create"),
                move |db, _| config_template::create_template(db, &author, &name, &settings),
                move |()| Some(subject),
            )
            .await
    }

    /// Changes a template's values; returns whether anything changed. The devices that use it follow
    /// with [`Store::derive_outdated`].
    pub async fn edit_template(
        &self,
        by: Author,
        edit: EditTemplate,
    ) -> Result<bool, TemplateError> {
        let (author, subject) = (by.clone(), edit.name.clone());
        self.sqlite()
            .change(
                Audited::new(by, "config_template.set"),
                move |db, _| config_template::edit_template(db, &author, &edit),
                move |is_changed: &bool| is_changed.then_some(subject),
            )
            .await
    }

    /// Deletes a template that no device uses.
    pub async fn delete_template(&self, by: Author, name: String) -> Result<(), TemplateError> {
        let subject = name.clone();
        self.sqlite()
            .change(
                Audited::new(by, "config_template.delete"),
                move |db, _| config_template::delete_template(db, &name),
                move |()| Some(subject),
            )
            .await
    }

    /// Assigns a template to a device, or none, and derives its configuration; returns whether anything
    /// changed.
    pub async fn assign_template(
        &self,
        by: Author,
        device: DeviceNumber,
        name: Option<String>,
    ) -> Result<bool, TemplateError> {
        let author = by.clone();
        self.sqlite()
            .change(
                Audited::new(by, "config_template.assign"),
                move |db, _| config_template::assign(db, &author, device, name.as_deref()),
                move |is_changed: &bool| is_changed.then(|| device.to_string()),
            )
            .await
    }

    /// Assigns a template to devices, or none, as [`Store::assign_template`] does, in one commit; returns
    /// those that had another one. Nothing is changed if it fails.
    ///
    /// Takes [`TEMPLATE_DEVICES_PER_COMMIT`] devices at most; the others are ignored.
    pub async fn assign_templates(
        &self,
        by: Author,
        mut devices: Vec<DeviceNumber>,
        name: Option<String>,
    ) -> Result<Vec<DeviceNumber>, TemplateError> {
        devices.truncate(usize::try_from(TEMPLATE_DEVICES_PER_COMMIT).unwrap_or(usize::MAX));
        let author = by.clone();
        self.sqlite()
            .change(
                Audited::new(by, "config_template.assign"),
                move |db, _| config_template::assign_all(db, &author, &devices, name.as_deref()),
                move |changed: &Vec<DeviceNumber>| (!changed.is_empty()).then(|| listed(changed)),
            )
            .await
    }

    /// Returns a template's versions below the given one, newest first, at most
    /// [`TEMPLATE_VERSIONS_KEPT`].
    pub async fn list_template_versions(
        &self,
        name: String,
        before: Option<u32>,
        limit: u32,
    ) -> Result<Vec<TemplateVersion>, StoreError> {
        let limit = limit.min(TEMPLATE_VERSIONS_KEPT);
        self.sqlite().read(move |db| config_template::list_versions(db, &name, before, limit)).await
    }

    /// Derives the configurations of some devices whose template has changed; returns them. If there
    /// are none, all are up to date.
    pub async fn derive_outdated(&self) -> Result<Vec<DeviceNumber>, StoreError> {
        self.sqlite().write(config_template::derive_outdated).await
    }

    /// Returns what these values of a template would change on its devices with higher numbers than
    /// `after`, ascending, at most `limit`.
    pub async fn preview_template(
        &self,
        name: String,
        settings: Settings,
        after: Option<DeviceNumber>,
        limit: usize,
    ) -> Result<Vec<ConfigPreview>, StoreError> {
        self.sqlite()
            .read(move |db| config_template::preview(db, &name, &settings, after, limit))
            .await
    }
}

/// Names all devices of one commit, so that the audit has each of them.
fn listed(devices: &[DeviceNumber]) -> String {
    devices.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

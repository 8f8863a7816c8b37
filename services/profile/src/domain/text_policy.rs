//! Rules of a deployment for the texts that everybody reads: user names and biographies.

use super::contact_details::has_contact_details;
use super::reserved_names::ReservedNames;
use super::{ProfileError, RegistrationRequest, User, UserProfileUpdate};

/// The texts that users may not write about themselves, beside the form of each field.
#[derive(Clone, Debug)]
pub struct PublicTextPolicy {
    reserved_names: ReservedNames,
    refuse_contact_details: bool,
}

impl PublicTextPolicy {
    /// Creates the policy with these reserved names. With `refuse_contact_details`, texts must not contain phone
    /// numbers or addresses, by which people would agree on payments outside the platform.
    pub fn new(reserved_names: ReservedNames, refuse_contact_details: bool) -> Self {
        Self {
            reserved_names,
            refuse_contact_details,
        }
    }

    /// Checks the texts of a registration.
    ///
    /// # Errors
    /// [`ProfileError::UsernameReserved`], [`ProfileError::ContactDetails`].
    pub fn check_registration(&self, request: &RegistrationRequest) -> Result<(), ProfileError> {
        self.check_username(&request.username)?;
        request
            .bio
            .as_deref()
            .map_or(Ok(()), |bio| self.check_contact_details(bio))
    }

    /// Checks the texts that an update changes. Apps often send back the whole profile, and texts from before the
    /// policy stay.
    ///
    /// # Errors
    /// [`ProfileError::UsernameReserved`], [`ProfileError::ContactDetails`].
    pub fn check_update(
        &self,
        user: &User,
        update: &UserProfileUpdate,
    ) -> Result<(), ProfileError> {
        let username = update.username.as_deref();
        if let Some(username) = username.filter(|name| *name != user.username) {
            self.check_username(username)?;
        }
        let bio = update.bio.as_deref();
        match bio.filter(|bio| Some(*bio) != user.bio.as_deref()) {
            Some(bio) => self.check_contact_details(bio),
            None => Ok(()),
        }
    }

    /// Checks a user name whose form is valid.
    ///
    /// # Errors
    /// [`ProfileError::UsernameReserved`], [`ProfileError::ContactDetails`].
    pub fn check_username(&self, username: &str) -> Result<(), ProfileError> {
        if self.reserved_names.contains(username) {
            return Err(ProfileError::UsernameReserved);
        }
        self.check_contact_details(username)
    }

    fn check_contact_details(&self, text: &str) -> Result<(), ProfileError> {
        if self.refuse_contact_details && has_contact_details(text) {
            return Err(ProfileError::ContactDetails);
        }
        Ok(())
    }
}

impl Default for PublicTextPolicy {
    fn default() -> Self {
        Self::new(ReservedNames::with_names([]), false)
    }
}

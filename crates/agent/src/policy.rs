//! What an agent may do with what it reads.

use crate::Offered;
use tercel_sdk::Effect;

/// Whether a tool may be called, and why not, in words that the model can pass on.
///
/// In a run without untrusted text whoever wrote stands behind what is done. In a tainted one the words may be a
/// stranger's: reading is allowed, changing needs the operator's word, destroying a person who can be asked.
///
/// # Errors
/// The sentence that says why not.
pub fn may_call(tool: &Offered, tainted: bool) -> Result<(), String> {
    let name = &tool.spec.name;
    match tool.effect {
        _ if !tainted => Ok(()),
        Effect::Read => Ok(()),
        Effect::Write if tool.allowed => Ok(()),
        Effect::Write => Err(format!(
            "`{name}` was not done: nobody could be asked. It changes something, and this conversation contains text of \
             people outside, who may not have that decided for them. Say in your answer what should be done and that it \
             was not; the operator can do it or allow `{name}` for such runs."
        )),
        Effect::Destroy => Err(format!(
            "`{name}` was not done: nobody could be asked. It removes something for good, and this conversation contains \
             text of people outside. Say in your answer what should be removed and that it was not."
        )),
    }
}

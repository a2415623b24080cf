//! Which pack runs: whether one that is offered takes the place of the one that runs, and which one a start goes on with.
//! Decides, and does nothing.
//!
//! | offered | what happens |
//! | --- | --- |
//! | the same content | nothing |
//! | for another division | refused: topics and sites are another district's |
//! | a higher version, while the one that `allow_version` names runs | refused: the platform may still keep the one from which somebody went back on purpose |
//! | a higher version | taken |
//! | the version that `allow_version` names | taken, whatever runs; logged |
//! | a lower version | refused |
//! | the same version with other content | refused; taken, with a warning, when it is an unsigned one from this machine's disk |

use gridpost_protocol::pack::{Pack, PackDigest};
use serde::Serialize;

use super::trust::Origin;

/// A pack, by what decides about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// The district.
    pub division: String,
    /// What it says.
    pub digest: PackDigest,
}

impl Identity {
    /// Of a pack.
    #[must_use]
    pub fn of(pack: &Pack) -> Self {
        Self {
            name: pack.name.clone(),
            version: pack.version,
            division: pack.division.to_string(),
            digest: pack.digest(),
        }
    }
}

/// What becomes of an offered pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It runs already.
    Same,
    /// It is to run.
    Take(Because),
    /// It is not to run.
    Refuse(String),
}

/// Why a pack is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// Its version is higher.
    Newer,
    /// The configuration allows just this version.
    Allowed,
    /// It was edited on this machine.
    Edited,
}

/// Whether an offered pack takes the place of the one that runs.
#[must_use]
pub fn verdict(
    running: &Identity,
    offered: &Identity,
    origin: &Origin,
    allow_version: Option<u32>,
) -> Verdict {
    if running.division != offered.division {
        return Verdict::Refuse(format!(
            "it is for division {}, and this gateway serves {}; to move the gateway, stop it and remove the pack that it keeps beside its spool",
            offered.division, running.division
        ));
    }
    if running.digest == offered.digest && running.version == offered.version {
        return Verdict::Same;
    }
    if offered.version > running.version {
        if allow_version == Some(running.version) {
            return Verdict::Refuse(format!(
                "the configuration holds this gateway at version {} (allow_version); take that out of gridpost.toml for version {} to run",
                running.version, offered.version
            ));
        }
        return Verdict::Take(Because::Newer);
    }
    if allow_version == Some(offered.version) {
        return Verdict::Take(Because::Allowed);
    }
    if offered.version == running.version && *origin == Origin::Local {
        return Verdict::Take(Because::Edited);
    }
    let what = match offered.version == running.version {
        true => format!(
            "it says other things than the version {} that runs, under the same version",
            running.version
        ),
        false => {
            format!("its version {} is older than the version {} that runs", offered.version, running.version)
        }
    };
    Verdict::Refuse(format!(
        "{what}; build it with a higher version, or set allow_version = {} under [pack] in gridpost.toml",
        offered.version
    ))
}

/// Which pack a start goes on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The one that the configuration names.
    Configured(Option<Because>),
    /// The one that ran last.
    Kept,
}

/// Decides at a start, and says what was refused. `configured` is [`Err`] when it cannot be used; `kept` is what ran last.
///
/// # Errors
/// When there is no pack to run; why the configured one cannot be used.
pub fn at_start<'e>(
    configured: Result<(&Identity, &Origin), &'e str>,
    kept: Option<&Identity>,
    allow_version: Option<u32>,
) -> Result<(Start, Option<String>), &'e str> {
    match (configured, kept) {
        (Ok(_), None) => Ok((Start::Configured(None), None)),
        (Err(why), None) => Err(why),
        (Err(why), Some(_)) => Ok((Start::Kept, Some(why.to_owned()))),
        (Ok((offered, origin)), Some(kept)) => Ok(match verdict(kept, offered, origin, allow_version) {
            Verdict::Same => (Start::Configured(None), None),
            Verdict::Take(because) => (Start::Configured(Some(because)), None),
            Verdict::Refuse(why) => (Start::Kept, Some(why)),
        }),
    }
}

/// Which pack a gateway runs, and what it refused last: as it says to the platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PackStatus {
    /// The pack that runs.
    pub pack: Running,
    /// The last one that was refused since the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pack_refused: Option<Refusal>,
}

/// The pack that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Running {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// The digest of its content, in hexadecimal.
    pub digest: String,
}

/// A pack that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// Where it came from: `platform` or `file`.
    pub from: &'static str,
    /// Its version, where that could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// Why.
    pub reason: String,
}

impl PackStatus {
    /// Of the pack that runs, with nothing refused.
    #[must_use]
    pub fn of(pack: &Pack) -> Self {
        let running =
            Running { name: pack.name.clone(), version: pack.version, digest: pack.digest().to_string() };
        Self { pack: running, pack_refused: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(version: u32, content: u8) -> Identity {
        Identity { name: "p".into(), version, division: "440310".into(), digest: PackDigest([content; 32]) }
    }

    fn signed() -> Origin {
        Origin::Signed { by: "office.pub".into(), comment: String::new() }
    }

    #[test]
    fn versions_only_rise_unless_somebody_says_which_one_may_come_back() {
        let running = pack(5, 5);
        let said = |offered: &Identity, allow| verdict(&running, offered, &signed(), allow);
        assert_eq!(said(&pack(5, 5), None), Verdict::Same);
        assert_eq!(said(&pack(6, 6), None), Verdict::Take(Because::Newer));
        assert!(
            matches!(said(&pack(4, 4), None), Verdict::Refuse(why) if why.contains("older") && why.contains("allow_version = 4"))
        );
        assert!(matches!(said(&pack(5, 6), None), Verdict::Refuse(why) if why.contains("same version")));
        assert_eq!(said(&pack(4, 4), Some(4)), Verdict::Take(Because::Allowed));
        assert!(matches!(said(&pack(3, 3), Some(4)), Verdict::Refuse(_)));
        // Somebody went back to it on purpose, and the platform still keeps the later one.
        assert!(
            matches!(said(&pack(6, 6), Some(5)), Verdict::Refuse(why) if why.contains("holds this gateway at version 5"))
        );
        // The same content under a higher version is a new version all the same.
        assert_eq!(said(&pack(6, 5), None), Verdict::Take(Because::Newer));
    }

    #[test]
    fn what_is_edited_on_the_bench_needs_no_new_version_but_no_older_one_either() {
        let running = pack(5, 5);
        assert_eq!(verdict(&running, &pack(5, 6), &Origin::Local, None), Verdict::Take(Because::Edited));
        assert!(matches!(verdict(&running, &pack(4, 6), &Origin::Local, None), Verdict::Refuse(_)));
    }

    #[test]
    fn another_districts_pack_is_never_taken() {
        let other = Identity { division: "440305".into(), ..pack(9, 9) };
        for allow in [None, Some(9)] {
            let said = verdict(&pack(5, 5), &other, &signed(), allow);
            assert!(matches!(said, Verdict::Refuse(why) if why.contains("440305")));
        }
    }

    #[test]
    fn a_start_goes_on_with_what_ran_when_the_configured_pack_cannot_be_used() {
        let (kept, configured) = (pack(5, 5), pack(4, 4));
        assert_eq!(at_start(Err("damaged"), None, None), Err("damaged"));
        assert_eq!(at_start(Err("damaged"), Some(&kept), None), Ok((Start::Kept, Some("damaged".into()))));
        assert_eq!(at_start(Ok((&configured, &signed())), None, None), Ok((Start::Configured(None), None)));
        let (start, refused) = at_start(Ok((&configured, &signed())), Some(&kept), None).unwrap();
        assert!(start == Start::Kept && refused.is_some());
        let newer = pack(6, 6);
        let start = at_start(Ok((&newer, &signed())), Some(&kept), None).unwrap();
        assert_eq!(start, (Start::Configured(Some(Because::Newer)), None));
    }
}

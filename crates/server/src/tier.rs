//! Which tier is in force, and what needs more than that.

use crate::catalog::Catalog;
use std::collections::BTreeMap;

/// From the lowest. An integration asks for one of the first three.
pub const TIERS: [&str; 4] = ["free", "paid", "premium", "ultra"];

/// The usual features and the tiers that they need, for code that asks. Integrations add their own, and change none.
pub const FEATURES: [(&str, &str); 18] = [
    ("apple_calendar_sync", "paid"),
    ("company_research", "paid"),
    ("email_classifier", "paid"),
    ("google_calendar_sync", "paid"),
    ("google_sheets_sync", "paid"),
    ("interview_prep", "paid"),
    ("llm_career_summary", "paid"),
    ("llm_expand_bullets", "paid"),
    ("llm_job_titles", "paid"),
    ("llm_keywords_blocklist", "paid"),
    ("llm_mission_notes", "paid"),
    ("llm_suggest_skills", "paid"),
    ("llm_voice_guidelines", "premium"),
    ("model_fine_tuning", "premium"),
    ("multi_user", "premium"),
    ("shared_cover_writer_model", "paid"),
    ("survey_assistant", "paid"),
    ("vue_ui_beta", "free"),
];

/// The tier in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tier(usize);

impl Tier {
    /// `None` for a name that is none.
    pub fn named(name: &str) -> Option<Self> {
        rank(name).map(Self)
    }

    pub fn as_str(self) -> &'static str {
        TIERS[self.0]
    }

    /// What is asked for is not known: it cannot be had, whatever is in force.
    pub fn has(self, needed: &str) -> bool {
        rank(needed).is_some_and(|needed| needed <= self.0)
    }

    /// Why something cannot be had, for whoever wants it.
    pub fn refusal(self, what: &str, needed: &str) -> Option<String> {
        (!self.has(needed))
            .then(|| format!("{what} needs the tier {needed}; the tier in force is {} (TERCEL_TIER)", self.as_str()))
    }
}

fn rank(name: &str) -> Option<usize> {
    TIERS.iter().position(|known| *known == name)
}

/// Every feature and the tier that it needs: the usual ones, and those that integrations add.
pub fn features(catalog: &Catalog) -> BTreeMap<String, String> {
    let mut features: BTreeMap<String, String> = BTreeMap::new();
    for entry in catalog.integrations.values() {
        for (feature, tier) in &entry.listed.integration.features {
            // The first that names one has it.
            features.entry(feature.clone()).or_insert_with(|| tier.clone());
        }
    }
    features.extend(FEATURES.map(|(feature, tier)| (feature.into(), tier.into())));
    features
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_has_what_lower_ones_have_and_says_what_it_has_not() {
        let free = Tier::named("free").unwrap();
        assert!(free.has("free") && !free.has("paid") && !free.has("gold"));
        assert!(Tier::named("ultra").unwrap().has("premium") && Tier::named("gold").is_none());
        let told = "`forge` needs the tier paid; the tier in force is free (TERCEL_TIER)";
        assert_eq!(free.refusal("`forge`", "paid").as_deref(), Some(told));
        assert_eq!(free.refusal("`forge`", "free"), None);
    }

    #[test]
    fn every_feature_is_listed_once_and_needs_a_tier_that_there_is() {
        assert!(FEATURES.is_sorted_by(|a, b| a.0 < b.0));
        assert!(FEATURES.iter().all(|(_, tier)| TIERS.contains(tier)));
    }
}

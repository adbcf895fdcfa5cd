//! Each example of the documents: where it stands, how it was indented, and which test executes it.

use Document::{Adding, Creating};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Document {
    Creating,
    Adding,
}

impl Document {
    pub fn file(self) -> &'static str {
        match self {
            Creating => "creating-an-integration.txt",
            Adding => "adding-an-integration.txt",
        }
    }
}

pub struct Example {
    pub name: &'static str,
    pub document: Document,
    /// First and last.
    pub lines: (usize, usize),
    /// How far each line stands in. Empty where that means nothing.
    pub levels: &'static str,
    /// Of the lines without any indentation.
    pub hash: &'static str,
    /// The test that executes it.
    pub proof: &'static str,
}

impl Example {
    pub fn is_yaml(&self) -> bool {
        self.name == "compose override"
    }
}

#[rustfmt::skip]
pub const EXAMPLES: &[Example] = &[
    Example { name: "workspace folders", document: Creating, lines: (11, 19), levels: "", hash: "50fc6961a7eca30a", proof: "folders_of_the_workspace_are_shown_and_wait_for_approval" },
    Example { name: "compose override", document: Creating, lines: (29, 35), levels: "0012323", hash: "a7c373de45620dc2", proof: "the_override_that_mounts_integrations_fits_the_compose_file" },
    Example { name: "folder structure", document: Creating, lines: (43, 56), levels: "", hash: "5f9f7d64059d9a36", proof: "every_file_of_the_documented_folder_is_loaded" },
    Example { name: "tool", document: Creating, lines: (88, 98), levels: "00112221001", hash: "97201cd117382028", proof: "the_documented_folder_takes_part_in_a_run_from_the_webhook_to_the_answer" },
    Example { name: "stub", document: Creating, lines: (101, 106), levels: "001221", hash: "cb716e31abf8c547", proof: "a_folder_with_the_stub_of_its_own_has_its_tools" },
    Example { name: "config", document: Creating, lines: (111, 117), levels: "0001110", hash: "7535b9764efe3c02", proof: "the_documented_folder_takes_part_in_a_run_from_the_webhook_to_the_answer" },
    Example { name: "router", document: Creating, lines: (128, 154), levels: "000001112222344433344444431", hash: "8efacf9224133204", proof: "the_documented_folder_takes_part_in_a_run_from_the_webhook_to_the_answer" },
    Example { name: "dispatcher", document: Creating, lines: (157, 177), levels: "000012222321222222200", hash: "e49479045b667c9a", proof: "the_documented_folder_takes_part_in_a_run_from_the_webhook_to_the_answer" },
    Example { name: "metadata", document: Creating, lines: (186, 200), levels: "001112112101110", hash: "8bd003db2a847bcb", proof: "the_documented_folder_takes_part_in_a_run_from_the_webhook_to_the_answer" },
    Example { name: "hook", document: Creating, lines: (205, 210), levels: "001110", hash: "b7313e649a35433d", proof: "the_documented_folder_takes_part_in_a_run_from_the_webhook_to_the_answer" },
    Example { name: "transcription", document: Creating, lines: (234, 240), levels: "0011110", hash: "381fdb3948b9c729", proof: "a_hook_can_transcribe_instead_of_the_server" },
    Example { name: "hook payload", document: Creating, lines: (245, 260), levels: "", hash: "3d9de2808e6a80bc", proof: "hook_events_are_posted_in_the_documented_shape" },
    Example { name: "process", document: Creating, lines: (266, 268), levels: "", hash: "753c0f79ceed9e39", proof: "the_process_starts_when_what_it_requires_is_set" },
    Example { name: "helpers", document: Creating, lines: (274, 318), levels: "000112222221112222111222333221112222223332211", hash: "decd25cb9a14c1a0", proof: "the_helpers_do_what_the_document_says" },
    Example { name: "document body", document: Creating, lines: (337, 344), levels: "", hash: "4ed15b5695d17406", proof: "the_documented_requests_get_the_documented_answers" },
    Example { name: "session body", document: Creating, lines: (357, 367), levels: "", hash: "2157b76d93e99add", proof: "the_documented_requests_get_the_documented_answers" },
    Example { name: "message body", document: Creating, lines: (368, 375), levels: "", hash: "b4da2eff3d8404ff", proof: "the_documented_requests_get_the_documented_answers" },
    Example { name: "execution_config", document: Creating, lines: (391, 400), levels: "0111222110", hash: "3dbce043eb18b463", proof: "an_execution_config_counts_for_one_run" },
    Example { name: "setup", document: Creating, lines: (454, 460), levels: "0011110", hash: "0c5b2edc38e8daf9", proof: "a_setup_with_dots_in_it_hurts_nobody" },
    Example { name: "env_vars", document: Creating, lines: (465, 478), levels: "01222211222210", hash: "627dbb46c3125392", proof: "the_tables_of_setup_are_on_the_card" },
    Example { name: "webhook", document: Creating, lines: (499, 502), levels: "0110", hash: "c41ffee3cb11b208", proof: "the_tables_of_setup_are_on_the_card" },
    Example { name: "sidebar_section", document: Creating, lines: (507, 518), levels: "011112221110", hash: "ea4547f4b90a6428", proof: "the_tables_of_setup_are_on_the_card" },
    Example { name: "dashboard_modules", document: Creating, lines: (561, 568), levels: "01222210", hash: "04c60e29da3c2310", proof: "the_tables_of_setup_are_on_the_card" },
    Example { name: "dispatch shapes", document: Creating, lines: (591, 598), levels: "", hash: "3bd0e41bf92bc9d2", proof: "every_documented_dispatch_config_is_understood" },
    Example { name: "module", document: Adding, lines: (5, 84), levels: "00011112234444443344444432122222221222223344443323122222222234434212233344444332", hash: "288b8236e18b175c", proof: "the_six_tests_pass_wherever_the_module_stands" },
    Example { name: "configuration", document: Adding, lines: (87, 91), levels: "", hash: "d74abcae6d77ec2b", proof: "the_example_configuration_is_what_the_class_saves" },
    Example { name: "features", document: Adding, lines: (100, 103), levels: "0110", hash: "8bfbd0b7396387fe", proof: "an_action_is_gated_by_its_tier" },
    Example { name: "can_use", document: Adding, lines: (105, 111), levels: "0000101", hash: "dba73c9d74021de2", proof: "an_action_is_gated_by_its_tier" },
    Example { name: "tests", document: Adding, lines: (114, 154), levels: "00000011112222011101110111112011120111111", hash: "41dea5c3ee8dde2d", proof: "the_six_tests_pass_wherever_the_module_stands" },
];

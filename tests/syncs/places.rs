//! Another target, or another account: what was pushed to the one before says nothing about it.

use crate::register::{ONE_BY_ONE, PATH, Register, TOKEN, counts, job, options, store, sync};
use serde_json::json;
use tercel_tests::Server;

#[test]
fn another_target_gets_all_and_another_account_is_asked_what_it_has() {
    let (first, second) = (Register::start(), Register::start());
    let server = Server::start(options(&first, ONE_BY_ONE));
    store(&server, &[job(1, "Cook"), job(2, "Baker")]);
    let report = sync(&server, json!({}));
    assert_eq!((counts(&report), &report["anew"]), ([2, 0, 0, 0, 0, 0], &json!(false)), "{report:#}");
    server.post(&format!("{PATH}/test"), json!({})).expect(200);
    let report = sync(&server, json!({}));
    assert_eq!((counts(&report), &report["anew"]), ([0, 0, 0, 2, 0, 0], &json!(false)), "{report:#}");

    let connect = json!({"url": second.url(), "token": TOKEN});
    assert_eq!(server.post(&format!("{PATH}/connect"), connect).expect(200)["ok"], true);
    assert_eq!(counts(&sync(&server, json!({"dry_run": true}))), [2, 0, 0, 0, 0, 0]);
    let report = sync(&server, json!({}));
    assert_eq!((counts(&report), &report["anew"]), ([2, 0, 0, 0, 0, 0], &json!(true)), "{report:#}");
    for register in [&first, &second] {
        assert_eq!(register.sorted_titles(), ["Baker", "Cook"]);
    }
    let report = sync(&server, json!({}));
    assert_eq!((counts(&report), &report["anew"]), ([0, 0, 0, 2, 0, 0], &json!(false)), "{report:#}");

    second.user("somebody else");
    server.post(&format!("{PATH}/test"), json!({})).expect(200);
    let report = sync(&server, json!({}));
    assert_eq!((counts(&report), &report["anew"]), ([0, 2, 0, 0, 0, 0], &json!(true)), "{report:#}");
    assert_eq!(second.sorted_titles(), ["Baker", "Cook"], "they were found");
}

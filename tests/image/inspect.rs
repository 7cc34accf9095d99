//! `coracle image inspect`; what it prints is also shown by `container/inspect.rs`.

use crate::harness::Env;

#[test]
fn looks_at_images_only() {
    let env = Env::with_tiny();
    env.coracle(["create", "--name", "boat", "tiny"]).success();
    let said = env.coracle(["image", "inspect", "tiny"]).success();
    let parsed: serde_json::Value = serde_json::from_str(said.stdout()).expect("JSON");
    assert_eq!(parsed[0]["Config"]["Cmd"], serde_json::json!(["sh"]));
    env.coracle(["image", "inspect", "boat"]).code(1).says("[]\n").stderr_has("No such image: boat");
}

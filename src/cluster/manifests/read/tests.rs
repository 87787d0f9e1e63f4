use super::*;

const SERVICE: &str = "\
apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: shop
  annotations:
    note: |
      kind: Pod

      ---- not a document
spec:
  clusterIP: None
  ports:
  - name: http
    port: 80
";

fn read_text(text: &str, settled: bool) -> (Vec<String>, Vec<String>, bool) {
    let mut objects = Vec::new();
    let contents = read(text.as_bytes(), settled, &|_| true, &mut |object| {
        let metadata = object.metadata();
        objects.push(format!(
            "{} {}/{}",
            object.resource(),
            metadata.namespace,
            metadata.name
        ));
    });
    let fault =
        |(line, damage): (Option<usize>, Damage)| format!("{}: {damage}", line.unwrap_or_default());
    (
        objects,
        contents.faults.into_iter().map(fault).collect(),
        contents.held,
    )
}

fn check(name: &str, text: &str, objects: &[&str], faults: &[&str]) {
    let (found, told, held) = read_text(text, true);
    assert_eq!(found, objects, "{name}");
    assert_eq!(told.len(), faults.len(), "{name}: {told:?}");
    for (told, fault) in told.iter().zip(faults) {
        assert!(
            told.starts_with(fault),
            "{name}: {told:?}, expected {fault:?}"
        );
    }
    assert!(!held, "{name}");
}

#[test]
fn what_kubectl_prints_is_read() {
    let json =
        r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"web","namespace":"shop"}}"#;
    let list = format!(
        "apiVersion: v1\nitems:\n- apiVersion: v1\n  kind: Namespace\n  metadata:\n    name: shop\n- {json}\nkind: List\n"
    );
    let both = ["namespaces /shop", "services shop/web"];
    let web = ["services shop/web"];
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n";
    check("one object", SERVICE, &web, &[]);
    check(
        "two documents",
        &format!("---\n{namespace}---\n{SERVICE}"),
        &both,
        &[],
    );
    check("list", &list, &both, &[]);
    check(
        "list of one kind",
        &list.replace("kind: List", "kind: ServiceList"),
        &both,
        &[],
    );
    check(
        "list in braces",
        &format!("kind: List\napiVersion: v1\nitems: [{json}]\n"),
        &web,
        &[],
    );
    check(
        "empty list",
        "apiVersion: v1\nitems: []\nkind: List\nmetadata:\n  resourceVersion: \"\"\n",
        &[],
        &[],
    );
    check(
        "carriage returns",
        &SERVICE.replace('\n', "\r\n"),
        &web,
        &[],
    );
    check("byte order mark", &format!("\u{feff}{SERVICE}"), &web, &[]);
    check("no line feed at the end", SERVICE.trim_end(), &web, &[]);
    check("JSON", json, &web, &[]);
    check(
        "JSON list",
        &format!("\n {{\"apiVersion\":\"v1\",\"items\":[{json}],\"kind\":\"List\"}}"),
        &web,
        &[],
    );
    check(
        "two JSON documents",
        &format!("{json}\n{json}"),
        &[web[0], web[0]],
        &[],
    );
    check("JSON in YAML", &format!("---\n{json}\n"), &web, &[]);
    check(
        "JSON set apart as YAML",
        &format!("{json}\n---\n{json}"),
        &[web[0], web[0]],
        &[],
    );
    let braces = "{apiVersion: v1, kind: Service, metadata: {namespace: shop, name: web}, spec: {clusterIP: None}}";
    check("YAML in braces", braces, &web, &[]);
    check("nothing", "", &[], &[]);
    check("comments", "# nothing\n---\n", &[], &[]);
}

#[test]
fn items_of_an_answer_of_the_api_are_what_the_list_says() {
    let list = r#"{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[{"metadata":{"name":"a"}}]}"#;
    check("pods", list, &["pods default/a"], &[]);
    check("others", &list.replace("PodList", "SecretList"), &[], &[]);
    check(
        "kind too late",
        &list.replace(r#""kind":"PodList","#, ""),
        &[],
        &["1: kind is missing", "1: kind is missing"],
    );
    let yaml = "kind: PodList\napiVersion: v1\nitems: [{metadata: {name: a}}]\n";
    check("YAML", yaml, &["pods default/a"], &[]);
}

#[test]
fn kinds_that_are_not_served_are_skipped_whatever_they_hold() {
    let text = "apiVersion: apps/v1\nkind: Deployment\nspec: 7\n---\napiVersion: v1\nkind: Secret\nmetadata: []\n---\napiVersion: serving.knative.dev/v1\nkind: Service\n";
    check("YAML", text, &[], &[]);
    check(
        "JSON",
        r#"{"kind":"Deployment","apiVersion":"apps/v1","spec":7}"#,
        &[],
        &[],
    );
}

#[test]
fn resources_that_are_not_wanted_are_not_parsed() {
    let json = r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":7}}"#;
    for text in [
        "apiVersion: v1\nkind: Pod\nmetadata: [\n",
        "kind: PodList\napiVersion: v1\nitems: [{metadata: 7}]\n",
        json,
    ] {
        let contents = read(
            text.as_bytes(),
            true,
            &|resource| resource != Resource::Pods,
            &mut |_| {},
        );
        assert!(contents.faults.is_empty(), "{text}: {:?}", contents.faults);
    }
}

#[test]
fn of_a_pod_only_what_is_served_is_parsed() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - [\nstatus:\n  podIP: nowhere\n";
    check(
        "fault after the spec",
        pod,
        &[],
        &["1: pods default/p: status.podIP"],
    );
    let item = format!(
        "items:\n- {}kind: List\n",
        pod.replace('\n', "\n  ")
            .replace("nowhere", "[")
            .trim_end_matches(' ')
    );
    check("line after the spec", &item, &[], &["9: "]);
}

#[test]
fn a_fault_has_its_line_and_costs_its_object_only() {
    let broken = "apiVersion: v1\nkind: Service\nmetadata:\n  name: [\n";
    check(
        "syntax",
        &format!("{SERVICE}---\n{broken}---\n{SERVICE}"),
        &["services shop/web"; 2],
        &["20: "],
    );
    let shape = "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\nspec:\n  ports: 7\n";
    check(
        "type",
        &format!("# c\n{shape}---\n{SERVICE}"),
        &["services shop/web"],
        &["7: "],
    );
    let bad = SERVICE.replace("None", "10.0.0.300");
    check(
        "value",
        &format!("---\n{bad}"),
        &[],
        &["2: services shop/web: spec.clusterIPs: \"10.0.0.300\" is not an IP address"],
    );
    let list = format!(
        "apiVersion: v1\nitems:\n- kind: Pod\n  apiVersion: v1\n  metadata: [\n- {}kind: List\n",
        SERVICE.replace('\n', "\n  ").trim_end_matches(' ')
    );
    check("item", &list, &["services shop/web"], &["5: "]);
    check("no kind", "a: 1\n", &[], &["1: kind is missing"]);
    check("no mapping", "hello\n", &[], &["1: kind is missing"]);
    check(
        "a list without its kind",
        "apiVersion: v1\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: a}}\n",
        &["pods default/a"],
        &["3: the document is not complete"],
    );
    check(
        "JSON type",
        "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\n\"metadata\":7}",
        &[],
        &["2: invalid type: integer `7`"],
    );
    check(
        "JSON item",
        "{\"items\":[\n{\"a\":},\n{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\"}}],\"kind\":\"List\"}",
        &["pods default/a"],
        &["2: expected value"],
    );
    check(
        "JSON that breaks off",
        "{\"items\":[\n{\"a\":1},",
        &[],
        &["2: kind is missing", "2: the document is not complete"],
    );
    check(
        "JSON with something after it",
        "{\"kind\":\"List\"}\nxyz",
        &[],
        &["2: not JSON"],
    );
}

#[test]
fn many_faults_are_counted_not_told() {
    let (_, faults, _) = read_text(&"a: 1\n---\n".repeat(FAULTS_MAX + 5), true);
    assert_eq!(faults.len(), FAULTS_MAX + 1);
    assert_eq!(faults.last().map(String::as_str), Some("0: 5 more faults"));
}

#[test]
fn what_may_still_be_written_to_is_held_back() {
    let cut = &SERVICE[..SERVICE.find("  ports").unwrap() + 5];
    assert_eq!(
        read_text(&format!("{SERVICE}---\n{cut}"), false),
        (vec!["services shop/web".to_owned()], vec![], true)
    );
    assert_eq!(
        read_text(SERVICE, false),
        (vec!["services shop/web".to_owned()], vec![], false)
    );
}

#[test]
fn an_object_without_end_is_refused() {
    // The first line has 5 bytes and each further one 33: line 254202 is the first to end beyond 8 MiB.
    let text = format!(
        "a: |\n{}",
        " xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n".repeat(PIECE_BYTES_MAX / 32)
    );
    check("YAML", &text, &[], &["254202: an object of more than"]);
}

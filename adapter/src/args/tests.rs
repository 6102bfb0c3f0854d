use std::path::PathBuf;
use std::time::Duration;

use apiservice::accept::Limits;
use apiservice::server::RequestLimits;
use testkit::rows::each_row;

use super::*;
use crate::config::{Check, Command, HostChoice, Serve, SourceConfig};
use crate::logging;
use crate::source::prometheus::KubernetesAuth;

fn arguments(text: &str) -> Vec<OsString> {
    text.split_whitespace().map(OsString::from).collect()
}

fn serve(text: &str) -> (Serve, Vec<String>) {
    let config = parse(arguments(text)).unwrap_or_else(|error| panic!("{text}: {error}"));
    match config.command {
        Command::Serve(serve) => (*serve, config.notices),
        _ => panic!("{text}: not serve"),
    }
}

fn faults(text: &str) -> String {
    match parse(arguments(text)) {
        Err(error) => {
            assert_eq!(error.exit_code(), 64);
            error.to_string()
        }
        Ok(_) => panic!("{text}: accepted"),
    }
}

const LEAST: &str = "--standalone --config r.yaml --prometheus-url http://127.0.0.1:9090/";

#[test]
fn defaults_are_upstreams_where_it_has_them() {
    let (serve, notices) = serve(LEAST);
    assert_eq!(serve.relist_interval, Duration::from_mins(10));
    assert_eq!(serve.max_age, Duration::from_mins(10));
    assert_eq!(serve.server.address.to_string(), "127.0.0.1:6443");
    assert_eq!(serve.server.always_allow, ["/healthz", "/readyz", "/livez"]);
    assert!(notices.is_empty());
}

#[test]
fn the_leave_delay_is_for_services_and_not_for_standalone() {
    assert_eq!(serve(LEAST).0.server.shutdown_delay, Duration::ZERO);
    assert_eq!(
        serve(&format!("{LEAST} --shutdown-delay-duration=3s")).0.server.shutdown_delay,
        Duration::from_secs(3)
    );
    let in_cluster = "--config r.yaml --prometheus-url http://p:9090";
    assert_eq!(serve(in_cluster).0.server.shutdown_delay, Duration::from_secs(10));
}

#[test]
fn flags_are_read_in_the_notations_of_pflag() {
    let (serve, notices) = serve(
        "/adapter --standalone=true -c r.yaml --prometheus_url=http://p:9090 --secure-port 0 --metrics-relist-interval=1m \
         -v=4 --prometheus-header=X-A=b --prometheus-header X-C=d=e --disable-http2 --logtostderr=true --log_dir /tmp \
         --tls-cipher-suites=A,B",
    );
    assert_eq!(serve.relist_interval, Duration::from_mins(1));
    assert_eq!(serve.server.address.port(), 0);
    assert!(serve.server.tls.http1_only);
    assert_eq!(serve.server.tls.cipher_suites, ["A", "B"]);
    let SourceConfig::Prometheus(settings) = serve.source else { panic!("not Prometheus") };
    assert_eq!(settings.headers.len(), 2);
    assert_eq!(settings.headers[1].1, "d=e");
    assert_eq!(notices.len(), 2, "{notices:?}");
}

#[test]
fn every_flag_without_effect_is_taken_and_said() {
    for upstream::Ignored { name, takes_value, .. } in upstream::all_ignored() {
        let given = if *takes_value { format!("--{name}=x") } else { format!("--{name}") };
        let (_, notices) = serve(&format!("{LEAST} {given}"));
        assert_eq!(notices.len(), 1, "{given}");
        assert!(notices[0].starts_with(&format!("--{name} has no effect: ")), "{notices:?}");
        if *takes_value {
            assert_eq!(serve(&format!("{LEAST} --{name} x")).1.len(), 1, "{name}");
        } else {
            assert_eq!(serve(&format!("{LEAST} --{name}=false")).1.len(), 1, "{name}");
        }
    }
}

#[test]
fn faults_are_reported_together() {
    let text = faults("--standalone --bind-address 0.0.0.0 --metrics-max-age 1m --tls-min-version x");
    let rows = [
        "--bind-address: expected a loopback address with --standalone, found 0.0.0.0",
        "expected --config FILE",
        "--metrics-max-age: expected at least the relist interval of 10m0s, found 1m0s",
        "expected --prometheus-url URL, or --scrape-target LABELS@URL",
        "--tls-min-version: expected one of",
    ];
    each_row(rows, |part| {
        assert!(text.contains(part), "{part} is not in {text}");
    });
    let text = faults("--config r.yaml --prometheus-url http://p --tls-cert-file a");
    assert!(text.contains("expected --tls-cert-file and --tls-private-key-file together"), "{text}");
    assert!(faults(&format!("{LEAST} --serving-service x")).contains("expected NAMESPACE/NAME"));
    assert!(faults(&format!("{LEAST} --serving-ca-secret x")).contains("--serving-service"));
    assert!(faults(&format!("{LEAST} --prometheus-verb PUT")).contains("expected GET or POST"));
    assert!(faults(&format!("{LEAST} --metrics-relist-intervall 1m")).contains("--metrics-relist-interval"));
    assert!(faults(&format!("{LEAST} --scrape-target http://x")).contains("expected LABELS@URL"));
    assert!(faults("chekc").contains("check"));
}

#[test]
fn limits_are_read() {
    let (defaults, _) = serve(LEAST);
    assert_eq!(defaults.server.accept, Limits::default());
    assert_eq!(defaults.server.requests, RequestLimits::default());
    let (given, _) = serve(&format!(
        "{LEAST} --http2-max-streams-per-connection=250 --request-timeout 30s --max-requests-inflight 5 \
         --max-mutating-requests-inflight 3 --shutdown-grace 5s"
    ));
    assert_eq!(
        (given.server.accept.http2_streams, given.server.accept.exchange),
        (250, Some(Duration::from_mins(1)))
    );
    assert_eq!(
        (given.server.accept.grace, given.server.accept.answer),
        (Some(Duration::from_secs(5)), Duration::from_secs(30))
    );
    assert_eq!((given.server.requests.in_flight, given.server.requests.mutating_in_flight), (5, 3));
}

#[test]
fn flags_of_serving_are_read() {
    assert!(serve(LEAST).0.server.status_page);
    assert!(!serve(&format!("{LEAST} --status-page=false")).0.server.status_page);
}

#[test]
fn certificates_by_name_are_read() {
    let (given, _) = serve(&format!(
        "{LEAST} --tls-sni-cert-key a.crt,a.key --tls-sni-cert-key=b.crt,b.key:b.org,*.c.org --tls-min-version VersionTLS13"
    ));
    let [first, second] = &given.server.named_certificates[..] else { panic!("not two") };
    assert!(first.patterns.is_empty());
    assert_eq!(second.patterns, ["b.org", "*.c.org"]);
    assert!(given.server.tls.only_tls13);
    let text = faults(&format!("{LEAST} --tls-sni-cert-key a.crt"));
    assert!(text.contains("expected CERTIFICATE,KEY"), "{text}");
    each_row(["VersionTLS10", "VersionTLS11", "VersionTLS12"], |version| {
        assert!(!serve(&format!("{LEAST} --tls-min-version={version}")).0.server.tls.only_tls13, "{version}");
    });
}

#[test]
fn flags_of_the_audit_log_are_read() {
    use apiservice::audit::{Rotation, Target};
    let audit = |flags: &str| {
        let (serve, notices) = serve(&format!("{LEAST} {flags}"));
        (serve.server.audit, notices)
    };
    assert_eq!(audit(""), (None, vec![]));
    let (given, _) = audit(
        "--audit-policy-file p.yaml --audit-log-path=/var/log/a.log --audit-log-maxsize 10 --audit-log-maxbackup=3 \
         --audit-log-maxage 2 --audit-log-format=json --audit-log-version audit.k8s.io/v1",
    );
    let given = given.expect("both flags");
    let rotation = Rotation { bytes: 10 << 20, backups: 3, max_age: Some(Duration::from_hours(48)) };
    assert_eq!(given.policy, PathBuf::from("p.yaml"));
    assert_eq!(given.target, Target::File { path: "/var/log/a.log".into(), rotation });
    // As Kubernetes' servers have it since their defaults have an end.
    let (given, _) = audit("--audit-policy-file p.yaml --audit-log-path a.log");
    let bounded = Rotation { bytes: 100 << 20, backups: 100, max_age: Some(Duration::from_hours(366 * 24)) };
    assert_eq!(given.expect("both flags").target, Target::File { path: "a.log".into(), rotation: bounded });
    let (given, _) = audit("--audit-policy-file p.yaml --audit-log-path -");
    assert_eq!(given.expect("both flags").target, Target::Stdout);
    // One without the other records nothing, as upstream, and it is said.
    let rows = [
        ("--audit-log-path -", "--audit-log-path has no effect without --audit-policy-file"),
        ("--audit-policy-file p", "--audit-policy-file has no effect without --audit-log-path"),
    ];
    each_row(rows, |(flag, part)| {
        assert_eq!(audit(flag), (None, vec![part.to_owned()]));
    });
    assert!(faults(&format!("{LEAST} --audit-log-format legacy")).contains("json"));
}

#[test]
fn credentials_are_not_repeated() {
    let rows = [
        ("--prometheus-header=Authorization:hidden", "expected NAME=VALUE"),
        ("--prometheus-header=Authorization:hidden=x", "expected a header's name before ="),
        ("--prometheus-url=user:hidden@host:port", "expected an http or https URL"),
        ("--prometheus-url=http://user:hidden@host:port", "invalid port number"),
        ("--scrape-target=http://user:hidden/", "expected LABELS@URL"),
        ("--scrape-target=hidden@http://host/", "expected LABELS@URL"),
    ];
    each_row(rows, |(flag, part)| {
        let text = faults(&format!("--standalone --config r.yaml {flag}"));
        assert!(text.contains(part) && !text.contains("hidden"), "{flag}: {text}");
    });
}

#[test]
fn of_a_flag_given_twice_the_last_counts() {
    let (given, _) =
        serve(&format!("{LEAST} --secure-port 1 --request-timeout 1s --secure-port=2 --request-timeout=3s"));
    assert_eq!((given.server.address.port(), given.server.requests.timeout), (2, Duration::from_secs(3)));
}

#[test]
fn logging_flags_are_read_in_every_notation() {
    each_row(["--log-format=json", "--logging-format json", "--logging_format=json"], |flag| {
        let config =
            parse(arguments(&format!("{LEAST} {flag} --v=3"))).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((config.logging.format, config.logging.verbosity), (logging::Format::Json, 3), "{flag}");
    });
}

#[test]
fn targets_have_labels() {
    let (serve, _) = serve(
        "--standalone --config r.yaml --scrape-target namespace=default,pod=a@http://127.0.0.1:1/metrics --scrape-interval 1s",
    );
    assert_eq!(serve.relist_interval, Duration::from_secs(1));
    let SourceConfig::Embedded { targets, scrape, engine, .. } = serve.source else { panic!("not embedded") };
    assert_eq!((engine.max_series, engine.max_series_per_target), (200_000, 50_000));
    assert_eq!(targets[0].labels.value("pod"), Some("a"));
    assert_eq!(targets[0].labels.value("instance"), Some("127.0.0.1:1"));
    assert_eq!(scrape.timeout, Duration::from_secs(1));
}

#[test]
fn help_is_an_answer() {
    let Err(UsageError::Asked(text)) = parse(arguments("--help")) else { panic!("no help") };
    each_row(["--prometheus-url", "--standalone", "--scrape-target", "[default: 10m]"], |part| {
        assert!(text.contains(part), "{part}");
    });
}

#[test]
fn flags_of_a_cluster_are_read() {
    let (serve, notices) = serve(
        "--config r.yaml --prometheus-url http://p --lister-kubeconfig k --requestheader-client-ca-file ca \
         --requestheader-extra-headers-prefix X-Remote-Extra- --authentication-token-webhook-cache-ttl 1m \
         --serving-service monitoring/adapter --serving-ca-secret adapter-ca --client-qps 5 --review-qps 20",
    );
    assert_eq!(serve.server.address.to_string(), "0.0.0.0:6443");
    assert_eq!(notices.len(), 1, "{notices:?}");
    let HostChoice::Cluster(config) = serve.host else { panic!("standalone") };
    let front_proxy = config.authentication.front_proxy.expect("a front proxy");
    assert_eq!(front_proxy.username_headers, ["x-remote-user"]);
    assert_eq!(front_proxy.extra_prefixes, ["x-remote-extra-"]);
    assert_eq!(config.authentication.token_ttl, Duration::from_mins(1));
    assert_eq!((config.reviews.per_second, config.reviews.burst), (20, 400));
    let crate::cluster::ServingConfig::Published(identity) = config.serving else { panic!("files") };
    assert_eq!((identity.namespace.as_str(), identity.service.as_str()), ("monitoring", "adapter"));
}

#[test]
fn a_clusters_flags_mean_nothing_without_one() {
    let (_, notices) = serve(&format!("{LEAST} --lister-kubeconfig k --tls-cert-file c --review-qps 5"));
    assert_eq!(notices.len(), 3, "{notices:?}");
    each_row(["lister-kubeconfig", "tls-cert-file", "review-qps"], |name| {
        assert!(
            notices.iter().any(|notice| notice.starts_with(&format!("--{name} has no effect"))),
            "{name}"
        );
    });
    // A default is not given.
    assert_eq!(serve(LEAST).1, Vec::<String>::new());
}

#[test]
fn the_page_of_flags_is_what_the_program_prints() {
    let page = include_str!("../../../docs/flags.md");
    let (_, section) = page.split_once("\n## adapter\n\n").expect("a section of the adapter");
    let section = section.split("\n## ").next().unwrap_or_default();
    assert!(section == flags::markdown(), "docs/flags.md is not what the program prints: run scripts/flags");
}

/// Every flag of prometheus-adapter, with the kind of its value and a value of that kind.
fn upstreams_flags() -> Vec<(&'static str, &'static str, &'static str)> {
    include_str!("prometheus-adapter-0.12-flags.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (name, kind) = line.split_once(' ').expect("a name and a kind");
            let value = match (name, kind) {
                ("audit-log-format", _) => "json",
                ("audit-log-version", _) => "audit.k8s.io/v1",
                ("metrics-max-age", _) => "20m",
                ("prometheus-url", _) => "http://p:9090/",
                ("prometheus-verb", _) => "POST",
                ("tls-cipher-suites", _) => {
                    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_RSA_WITH_AES_128_CBC_SHA"
                }
                ("tls-min-version", _) => "VersionTLS13",
                (_, "bool") => "true",
                (_, "string" | "stringSlice") => "x",
                (_, "stringArray") => "a=b",
                (_, "int" | "int64" | "float32" | "level") => "4",
                (_, "duration") => "2m",
                (_, "ip") => "127.0.0.1",
                (_, "namedCertKey") => "a.crt,a.key:c.org",
                (_, "moduleSpec") => "a=1",
                other => panic!("no value for {other:?}"),
            };
            (name, kind, value)
        })
        .collect()
}

/// Flags that need each other.
const PAIRS: [[&str; 2]; 2] = [
    ["tls-cert-file", "tls-private-key-file"],
    ["prometheus-client-tls-cert-file", "prometheus-client-tls-key-file"],
];

/// Flags that the adapter or another flag needs, but for some.
fn needed_without(left_out: &[&str]) -> Vec<String> {
    let pairs = PAIRS.as_flattened().iter().map(|name| (*name, "f"));
    let all = [("config", "r.yaml"), ("prometheus-url", "http://127.0.0.1:1/")].into_iter().chain(pairs);
    all.filter(|(name, _)| !left_out.contains(name))
        .map(|(name, value)| format!("--{name}={value}"))
        .collect()
}

/// What comes of flags, and of which of them it is said that they have no effect.
fn outcome(arguments: Vec<String>) -> (String, Vec<String>) {
    match parse(arguments.into_iter().map(OsString::from)) {
        Ok(Config { command, logging, notices }) => (format!("{command:?} {logging:?}"), notices),
        Err(error) => (error.to_string(), Vec::new()),
    }
}

#[test]
fn every_flag_of_upstream_is_taken_in_every_notation() {
    let flags = upstreams_flags();
    assert_eq!(flags.len(), 81);
    for (name, kind, value) in flags {
        let with = |given: &[String]| outcome([&needed_without(&[name]), given].concat());
        let (meant, notices) = with(&[format!("--{name}={value}")]);
        assert!(meant.starts_with("Serve"), "--{name}={value}: {meant}");
        let is_ignored = notices.iter().any(|notice| notice.starts_with(&format!("--{name} has no effect")));
        let underscored = name.replace('-', "_");
        let mut alike = vec![vec![format!("--{underscored}={value}")]];
        if kind == "bool" {
            alike.push(vec![format!("--{name}")]);
            alike.push(vec![format!("--{name}=T")]);
            let (off, _) = with(&[format!("--{name}=false")]);
            assert_eq!(with(&[format!("--{name}=0")]).0, off);
            assert_eq!(off == meant, is_ignored, "--{name}=false is --{name}=true: {off}");
            if !is_ignored {
                assert!(with(&[format!("--{name}=")]).0.contains(&format!("--{name}")), "{name}");
                assert!(with(&[format!("--{name}=2")]).0.contains(&format!("--{name}")), "{name}");
            }
        } else {
            alike.push(vec![format!("--{name}"), value.to_owned()]);
            alike.push(vec![format!("--{underscored}"), value.to_owned()]);
        }
        if name == "v" {
            alike.extend([
                vec!["-v4".to_owned()],
                vec!["-v=4".to_owned()],
                vec!["-v".to_owned(), "4".to_owned()],
            ]);
        }
        for given in alike {
            assert_eq!(with(&given), (meant.clone(), notices.clone()), "{given:?}");
        }
    }
}

#[test]
fn an_empty_value_unsets_a_flag_of_upstream() {
    for (name, kind, value) in upstreams_flags() {
        if kind == "bool" {
            continue;
        }
        let pair = PAIRS.into_iter().find(|pair| pair.contains(&name)).unwrap_or([name; 2]);
        let needed = needed_without(&pair);
        let with = |given: &[String]| outcome([&needed, given].concat()).0;
        let unset = with(&[]);
        let (empty, given) = (format!("--{name}="), format!("--{name}={value}"));
        // A list that has entries by default has none when it is given as empty, as in upstream.
        let has_entries = name == "authorization-always-allow-paths";
        let adds_up = matches!(kind, "stringSlice" | "stringArray" | "namedCertKey");
        if !has_entries {
            assert_eq!(with(std::slice::from_ref(&empty)), unset, "{empty}");
            assert_eq!(with(&[format!("--{name}"), String::new()]), unset, "{empty}");
        }
        if !adds_up {
            assert_eq!(with(&[given.clone(), empty.clone()]), unset, "{given} {empty}");
        }
        // Such a value counts for nothing beside another.
        assert_eq!(with(&[empty, given.clone()]), with(&[given]), "{name}");
    }
    let (given, notices) =
        serve(&format!("{LEAST} --authorization-always-allow-paths= --metrics-relist-interval="));
    assert_eq!(given.server.always_allow, [""; 0]);
    assert_eq!(notices, ["--metrics-relist-interval is empty; using its default, 10m"]);
    let (given, _) = serve(
        "--config=r.yaml --prometheus-url=http://p --requestheader-client-ca-file=c \
                            --requestheader-username-headers= --requestheader-group-headers=",
    );
    let HostChoice::Cluster(config) = given.host else { panic!("standalone") };
    let front_proxy = config.authentication.front_proxy.expect("a front proxy");
    assert!(front_proxy.username_headers.is_empty() && front_proxy.group_headers.is_empty());
}

#[test]
fn lists_add_up_and_replace_their_default() {
    let (given, _) = serve(&format!(
        "{LEAST} --tls-cipher-suites=A,B --tls-cipher-suites C --authorization-always-allow-paths=/a --authorization_always_allow_paths=/b"
    ));
    assert_eq!(given.server.tls.cipher_suites, ["A", "B", "C"]);
    assert_eq!(given.server.always_allow, ["/a", "/b"]);
    let text = faults(&format!("{LEAST} --requestheader-group-headers=a:b").replace("--standalone", ""));
    assert!(
        text.contains("--requestheader-group-headers: expected names of headers, found \"a:b\""),
        "{text}"
    );
}

#[test]
fn kubernetes_access_to_prometheus_is_one_or_the_other_and_gives_way_to_a_ca_file() {
    use crate::source::prometheus::KubernetesAuth;
    let auth = |flags: &str| {
        let (serve, notices) = serve(&format!("{LEAST} {flags}"));
        let SourceConfig::Prometheus(settings) = serve.source else { panic!("not Prometheus") };
        (settings.auth, notices)
    };
    assert_eq!(auth("--prometheus-auth-incluster=false"), (None, vec![]));
    assert_eq!(auth("--prometheus-auth-config=k"), (Some(KubernetesAuth::Kubeconfig("k".into())), vec![]));
    let account = KubernetesAuth::ServiceAccount("/var/run/secrets/kubernetes.io/serviceaccount".into());
    for flag in
        ["--prometheus-auth-incluster", "--prometheus-auth-incluster=true", "--prometheus_auth_incluster"]
    {
        assert_eq!(auth(flag), (Some(account.clone()), vec![]), "{flag}");
    }
    each_row(["--prometheus-auth-config=k", "--prometheus-auth-incluster"], |flag| {
        let (auth, notices) = auth(&format!("{flag} --prometheus-ca-file=ca"));
        assert_eq!((auth, notices.len()), (None, 1), "{flag}");
        assert!(notices[0].contains("has no effect beside --prometheus-ca-file"), "{notices:?}");
    });
    let text = faults(&format!("{LEAST} --prometheus-auth-config=k --prometheus-auth-incluster"));
    assert!(
        text.contains("expected --prometheus-auth-config or --prometheus-auth-incluster, found both"),
        "{text}"
    );
}

#[test]
fn words_that_belong_to_no_flag_are_ignored_and_said() {
    let rows = [
        ("--disable-http2 false", "false after a switch; write --disable-http2=false"),
        ("--logtostderr true", "true after a switch; write --logtostderr=true"),
        ("hidden", "it follows --prometheus-url, and is neither a flag nor the value of one"),
        ("--prometheus-header Authorization=Bearer hidden", "it follows --prometheus-header"),
        ("check", "the command check must be the first argument"),
        ("-- --config=other.yaml", "it follows --prometheus-url"),
        ("-", "it follows --prometheus-url"),
    ];
    each_row(rows, |(given, part)| {
        let (given_serve, notices) = serve(&format!("{LEAST} {given}"));
        assert_eq!(given_serve.rules, Some(PathBuf::from("r.yaml")), "{given}");
        let notice = notices.last().unwrap_or_else(|| panic!("{given}: no notice"));
        assert!(notice.starts_with("argument ") && notice.contains(" is ignored: "), "{notice}");
        assert!(notice.contains(part) && !notice.contains("hidden"), "{given}: {notice}");
    });
    // It is on, as in upstream, which ignores the word too.
    assert!(serve(&format!("{LEAST} --disable-http2 false")).0.server.tls.http1_only);
    assert!(!serve(&format!("{LEAST} --disable-http2=false")).0.server.tls.http1_only);
    // The place is that of the command line.
    assert!(serve(&format!("/adapter {LEAST} word")).1[0].starts_with("argument 7 is ignored"));
    assert!(serve(&format!("serve word {LEAST}")).1[0].starts_with("argument 2 is ignored"));
    // An empty argument, as a template leaves it.
    let empty = ["", "--config=r.yaml", "", "--prometheus-url=http://p"].map(OsString::from);
    assert_eq!(parse(empty).unwrap_or_else(|error| panic!("{error}")).notices.len(), 2);
}

#[test]
fn a_first_word_is_a_command_or_an_error() {
    each_row(["chekc", "chekc --config r.yaml", "/adapter chekc"], |first| {
        let text = faults(first);
        assert!(text.contains("unrecognized subcommand 'chekc'") && text.contains("'check'"), "{text}");
    });
    each_row(["check a.yaml b.yaml", "/adapter check a.yaml b.yaml", "check -- a.yaml b.yaml"], |given| {
        let config = parse(arguments(given)).unwrap_or_else(|error| panic!("{given}: {error}"));
        let Command::Check(Check { files, .. }) = config.command else { panic!("{given}: not check") };
        assert_eq!(files, ["a.yaml", "b.yaml"].map(PathBuf::from), "{given}");
    });
    assert!(faults("check").contains("<FILES>"));
    assert!(faults("check --nosuch a.yaml").contains("--nosuch"));
}

#[test]
fn check_reaches_a_prometheus_as_the_server_does() {
    let flags = "--prometheus-header=X-Scope=team --prometheus-auth-config=k --prometheus-token-file=t \
                 --prometheus-client-tls-cert-file=c --prometheus-client-tls-key-file=d";
    let checked =
        parse(arguments(&format!("check r.yaml --prometheus-url=https://p {flags}"))).expect("good flags");
    let Command::Check(Check { prometheus: Some(checked), .. }) = checked.command else {
        panic!("not check")
    };
    let (served, _) = serve(&format!("--config=r.yaml --prometheus-url=https://p {flags}"));
    let SourceConfig::Prometheus(served) = served.source else { panic!("not a Prometheus") };
    assert_eq!(checked.headers, served.headers);
    assert_eq!(checked.auth, Some(KubernetesAuth::Kubeconfig(PathBuf::from("k"))));
    assert_eq!(checked.auth, served.auth);
    assert_eq!((&checked.token_file, &checked.ca_file), (&served.token_file, &served.ca_file));
    assert_eq!(checked.client_pair, Some((PathBuf::from("c"), PathBuf::from("d"))));
    assert_eq!(checked.client_pair, served.client_pair);
    let text = faults("check r.yaml --prometheus-url=http://p --prometheus-client-tls-key-file=d");
    assert!(text.contains("expected --prometheus-client-tls-cert-file and"), "{text}");
    let text = faults("check r.yaml --prometheus-auth-config=k");
    assert!(text.contains("--prometheus-auth-config: expected --prometheus-url URL beside it"), "{text}");
}

#[test]
fn times_of_nothing_are_refused() {
    let rows = [
        ("--metrics-relist-interval=0s", "--metrics-relist-interval: expected 1s or more, found 0s"),
        ("--metrics-relist-interval=1ms", "--metrics-relist-interval: expected 1s or more, found 1ms"),
        ("--scrape-interval=0", "--scrape-interval: expected more than 0s, found 0s"),
        ("--scrape-timeout=0s", "--scrape-timeout: expected more than 0s, found 0s"),
        ("--prometheus-timeout=0s", "--prometheus-timeout: expected more than 0s, found 0s"),
        ("--request-timeout=0s", "--request-timeout: expected more than 0s, found 0s"),
        ("--embedded-retention=0s", "--embedded-retention: expected more than 0s, found 0s"),
    ];
    each_row(rows, |(flag, expected)| {
        let text = faults(&format!("{LEAST} {flag}"));
        assert!(text.contains(expected), "{flag}: {text}");
    });
    let text = faults("--config=r.yaml --prometheus-url=http://p --discovery-interval=0s");
    assert!(text.contains("--discovery-interval: expected more than 0s, found 0s"), "{text}");
}

#[test]
fn where_help_is_found_is_said_once() {
    each_row(
        ["chekc", "--nosuch", "--standalone --bind-address=0.0.0.0", "--config", "--secure-port=x"],
        |wrong| {
            let text = faults(wrong);
            assert_eq!(text.matches("--help").count(), 1, "{text}");
            assert!(text.ends_with("--help explains every flag\n"), "{text}");
        },
    );
}

#[test]
fn completion_and_manual_are_printed_and_hold_the_flags() {
    each_row(["completion bash", "man", "/adapter man"], |given| {
        let config = parse(arguments(given)).unwrap_or_else(|error| panic!("{given}: {error}"));
        let Command::Print(text) = config.command else { panic!("{given}: not print") };
        assert!(text.replace('\\', "").contains("--prometheus-url"), "{given}: {text}");
    });
    assert!(faults("completion csh").contains("[possible values: bash, zsh, fish]"));
    assert!(
        faults("man chekc")
            .contains("expected one of the commands check, test, rbac, explain, diff, completion, man")
    );
}

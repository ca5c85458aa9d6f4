//! A table of hosts, and what each of them offers.

use super::*;

fn interface(text: &str) -> Interface {
    let words: Vec<_> = text.split(' ').collect();
    Interface {
        is_up: !words.contains(&"down"),
        is_loopback: words[0] == "lo",
        ..Interface::new(words[0], words[1].parse().unwrap())
    }
}

fn offered(
    interfaces: &[&str],
    reach: Reach,
    selection: Option<&str>,
) -> Result<Vec<String>, NoAddress> {
    let interfaces: Vec<_> = interfaces.iter().map(|text| interface(text)).collect();
    let selection = selection.map(|text| text.parse::<Selection>().unwrap());
    let addresses = candidates(&interfaces, reach, selection.as_ref())?;
    Ok(addresses.iter().map(ToString::to_string).collect())
}

const LAPTOP: &[&str] = &[
    "lo 127.0.0.1",
    "lo ::1",
    "virbr0 192.168.122.1",
    "docker0 172.17.0.1",
    "veth12ab fe80::1",
    "tun0 10.8.0.2",
    "wlan0 192.168.1.7",
    "wlan0 2001:db8::7",
    "wlan0 fe80::7",
    "eth1 10.9.9.9 down",
];

const NODE: &[&str] = &[
    "lo 127.0.0.1",
    "br-1234 172.18.0.1",
    "eth0 169.254.7.7",
    "eno1 10.0.0.5",
    "ib0 10.1.0.5",
    "ib0 fd00::5",
    "ib1 10.2.0.5",
];

#[test]
fn real_interfaces_come_first_and_bridges_last() {
    let table: &[(&[&str], &[&str])] = &[
        (
            LAPTOP,
            &[
                "192.168.1.7",
                "2001:db8::7",
                "10.8.0.2",
                "192.168.122.1",
                "172.17.0.1",
            ],
        ),
        (
            NODE,
            &[
                "10.0.0.5",
                "10.1.0.5",
                "10.2.0.5",
                "fd00::5",
                "169.254.7.7",
                "172.18.0.1",
            ],
        ),
        (&["docker0 172.17.0.1"], &["172.17.0.1"]),
        (&["eth0 10.0.0.5", "eth0 10.0.0.5"], &["10.0.0.5"]),
    ];
    for (interfaces, expected) in table {
        assert_eq!(
            offered(interfaces, Reach::OtherHosts, None).unwrap(),
            *expected
        );
    }
}

#[test]
fn loopback_is_offered_where_all_are_on_one_host() {
    let offered = offered(LAPTOP, Reach::ThisHost, None).unwrap();
    assert_eq!(offered[..3], ["127.0.0.1", "::1", "192.168.1.7"]);
}

#[test]
fn a_selection_says_which_and_in_which_order() {
    let table: &[(&str, &[&str])] = &[
        ("ib1,eno1", &["10.2.0.5", "10.0.0.5"]),
        ("ib*", &["10.1.0.5", "10.2.0.5", "fd00::5"]),
        ("10.0.0.0/8", &["10.0.0.5", "10.1.0.5", "10.2.0.5"]),
        ("fd00::/8 , 10.1.0.0/16", &["fd00::5", "10.1.0.5"]),
        ("10.1.0.5", &["10.1.0.5"]),
        ("lo", &["127.0.0.1"]),
        ("br-1234", &["172.18.0.1"]),
    ];
    for (selection, expected) in table {
        assert_eq!(
            offered(NODE, Reach::OtherHosts, Some(selection)).unwrap(),
            *expected,
            "{selection}"
        );
    }
}

#[test]
fn a_host_without_a_fitting_address_says_what_it_has() {
    let error = offered(
        &["lo 127.0.0.1", "eth1 10.9.9.9 down"],
        Reach::OtherHosts,
        None,
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "this host has no address that other hosts could reach: it has lo 127.0.0.1, eth1 10.9.9.9 (down); name an \
         interface that is up, or bring one up"
    );
    let error = offered(&["eth0 10.0.0.5"], Reach::OtherHosts, Some("ib*,fd00::/8")).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("no address of this host fits ib*,fd00::/8: it has eth0 10.0.0.5"),
        "{error}"
    );
}

#[test]
fn addresses_of_the_link_are_never_offered() {
    let link = ["eth0 fe80::1", "eth0 ::", "eth0 224.0.0.1"];
    assert!(offered(&link, Reach::OtherHosts, None).is_err());
    assert!(offered(&link, Reach::ThisHost, Some("eth0")).is_err());
}

#[test]
fn a_malformed_selection_names_the_item() {
    for (text, item) in [
        ("", ""),
        ("eth0,,ib0", ""),
        ("eth0,1.2.3.4/40", "1.2.3.4/40"),
        ("a b", "a b"),
        ("*", "*"),
        ("e*h", "e*h"),
    ] {
        let error = text.parse::<Selection>().unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with(&format!("{item:?} is neither")),
            "{error}"
        );
    }
}

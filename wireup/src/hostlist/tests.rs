//! Lists of hosts: what is understood, where errors are seen, and who gets which rank.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn list(text: &str) -> Vec<(String, u32)> {
    let hosts = parse_list(text).unwrap();
    hosts
        .into_iter()
        .map(|host| (host.host, host.slots))
        .collect()
}

fn owned(hosts: &[(&str, u32)]) -> Vec<(String, u32)> {
    hosts
        .iter()
        .map(|(host, slots)| ((*host).to_owned(), *slots))
        .collect()
}

#[test]
fn lists_of_the_command_line_are_understood() {
    for (text, expected) in [
        ("a:4,b:4", owned(&[("a", 4), ("b", 4)])),
        ("a", owned(&[("a", 1)])),
        ("a , b:2", owned(&[("a", 1), ("b", 2)])),
        ("a,b,a:3", owned(&[("a", 4), ("b", 1)])),
        ("me@a.example.org:2", owned(&[("me@a.example.org", 2)])),
        (
            "10.0.0.1:2,::1,[fe80::1]:3",
            owned(&[("10.0.0.1", 2), ("::1", 1), ("fe80::1", 3)]),
        ),
        ("n[9-11]:2", owned(&[("n9", 2), ("n10", 2), ("n11", 2)])),
    ] {
        assert_eq!(list(text), expected, "{text}");
    }
}

#[test]
fn hostfiles_of_both_mpis_are_understood() {
    let text = "\u{20}\n# hosts\r\nnode1 slots=4 max_slots=8 # big\nnode2\tslots = 2 max-slots=2\n\
                node3:4 binding=user:0,1,2,3\nnode4\nnode2:1\n::1 slots=3\n";
    let hosts = parse_file(text).unwrap();
    let host = |name, slots, max_slots| HostSlots {
        max_slots,
        ..HostSlots::new(name, slots)
    };
    assert_eq!(
        hosts,
        [
            host("node1", 4, Some(8)),
            host("node2", 3, Some(3)),
            host("node3", 4, None),
            host("node4", 1, None),
            host("::1", 3, None),
        ]
    );
}

#[test]
fn errors_of_hostfiles_name_line_column_and_kind() {
    use HostListProblem as P;
    for (text, line, column, problem) in [
        ("", 1, 1, P::NoHost),
        ("# nothing\n", 1, 1, P::NoHost),
        ("a\nb slots", 2, 3, P::NoValue),
        ("a slots=", 1, 3, P::NoValue),
        ("a slots=0", 1, 9, P::BadSlots),
        ("a slots=65536", 1, 9, P::BadSlots),
        ("a:x", 1, 3, P::BadSlots),
        ("a:4 slots=4", 1, 5, P::Twice),
        ("a slots=4 slots=4", 1, 11, P::Twice),
        ("a slots=4 max_slots=3", 1, 21, P::MaximumBelowSlots),
        ("a max_slots=3 slots=4", 1, 21, P::MaximumBelowSlots),
        ("a slot=4", 1, 3, P::UnknownKey),
        ("-oProxyCommand=x", 1, 1, P::BadName),
        ("\n  h\u{f6}st", 2, 3, P::BadName),
        ("a[1-2", 1, 1, P::Bracket),
        ("a1-2]", 1, 1, P::Bracket),
        ("[::g]:2", 1, 2, P::BadName),
        ("[::1", 1, 1, P::Bracket),
        ("[::1]x", 1, 6, P::BadName),
        ("a[2-1]", 1, 3, P::BadRange),
        ("a[1,,2]", 1, 5, P::BadRange),
        ("a[]", 1, 3, P::BadRange),
        ("a[0-99999]", 1, 1, P::TooManyHosts),
        ("a[000-999][000-999]", 1, 1, P::TooManyHosts),
    ] {
        let error = parse_file(text).unwrap_err();
        assert_eq!(
            (error.line, error.column, error.problem),
            (line, column, problem),
            "{text:?}: {error}"
        );
    }
}

#[test]
fn errors_of_lists_name_the_column_of_the_item() {
    use HostListProblem as P;
    for (text, column, problem) in [
        ("", 1, P::NoHost),
        ("a,", 3, P::NoHost),
        ("a:4,,b", 5, P::NoHost),
        ("a:4,b:0", 7, P::BadSlots),
        ("a, b c", 4, P::BadName),
    ] {
        let error = parse_list(text).unwrap_err();
        assert_eq!(
            (error.column, error.problem),
            (column, problem),
            "{text:?}: {error}"
        );
    }
}

#[test]
fn tasks_that_do_not_fit_the_nodes_are_an_error() {
    use HostListProblem as P;
    for (nodes, tasks, problem) in [
        ("n[1-3]", "4(x2)", P::TasksDoNotFit),
        ("n[1-3]", "4(x3),1", P::TasksDoNotFit),
        ("n[1-3]", "4(x4000000000)", P::BadSlots),
        ("n[1-3]", "4(3)", P::BadSlots),
        ("n[1-3]", "", P::BadSlots),
        ("n1", "0", P::BadSlots),
    ] {
        assert_eq!(
            from_slurm(nodes, tasks).unwrap_err().problem,
            problem,
            "{tasks}"
        );
    }
}

#[test]
fn ranks_beyond_slots_are_refused_or_go_round_again() {
    let mut hosts = parse_list("a:2,b:1,c:1").unwrap();
    let refused = place(&hosts, 5, MapBy::Slot, Overload::Refuse);
    let expected = PlacementError::Slots {
        ranks: 5,
        slots: 4,
        hosts: 3,
    };
    assert_eq!(refused, Err(expected));
    assert_eq!(
        place(&hosts, 7, MapBy::Slot, Overload::Allow).unwrap(),
        [0, 0, 0, 0, 1, 1, 2]
    );
    assert_eq!(
        place(&hosts, 7, MapBy::Node, Overload::Allow).unwrap(),
        [0, 1, 2, 0, 1, 2, 0]
    );
    for host in &mut hosts {
        host.max_slots = Some(host.slots);
    }
    let refused = place(&hosts, 5, MapBy::Slot, Overload::Allow);
    assert_eq!(
        refused,
        Err(PlacementError::Limits {
            ranks: 5,
            most: 4,
            hosts: 3
        })
    );
}

#[test]
fn no_host_takes_no_rank() {
    assert_eq!(place(&[], 0, MapBy::Node, Overload::Refuse), Ok(vec![]));
    assert!(place(&[], 1, MapBy::Node, Overload::Allow).is_err());
}

/// A compact list of nodes beside the names that it means, which are made without the parser.
fn compact() -> impl Strategy<Value = (String, Vec<String>)> {
    let range = (0_u32..500, 0_u32..20, 1_usize..5);
    let ranges = vec(range, 1..4).prop_map(|ranges| {
        let mut names = Vec::new();
        let texts: Vec<String> = ranges
            .iter()
            .map(|&(first, more, width)| {
                names.extend((first..=first + more).map(|number| format!("{number:0width$}")));
                format!("{first:0width$}-{:0width$}", first + more)
            })
            .collect();
        (format!("[{}]", texts.join(",")), names)
    });
    let item =
        ("[a-z]{1,5}", proptest::option::of(ranges)).prop_map(|(stem, ranges)| match ranges {
            Some((text, names)) => {
                let names = names.iter().map(|name| format!("{stem}{name}")).collect();
                (format!("{stem}{text}"), names)
            }
            None => (stem.clone(), vec![stem]),
        });
    vec(item, 1..4).prop_map(|items: Vec<(String, Vec<String>)>| {
        let (texts, names): (Vec<_>, Vec<_>) = items.into_iter().unzip();
        (texts.join(","), names.concat())
    })
}

fn slots_of_hosts() -> impl Strategy<Value = Vec<HostSlots>> {
    vec((1_u32..9, proptest::option::of(0_u32..9)), 1..9).prop_map(|hosts| {
        let hosts = hosts.into_iter().enumerate();
        hosts
            .map(|(index, (slots, more))| HostSlots {
                max_slots: more.map(|more| slots + more),
                ..HostSlots::new(format!("h{index}"), slots)
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn a_compact_list_means_the_names_that_made_it((text, names) in compact()) {
        prop_assert_eq!(expand_nodes(&text).unwrap(), names);
    }

    #[test]
    fn what_is_written_is_what_is_read(hosts in slots_of_hosts()) {
        let line = |host: &HostSlots| {
            let maximum = host.max_slots.map(|most| format!(" max_slots={most}"));
            format!("{} slots={}{}\n", host.host, host.slots, maximum.unwrap_or_default())
        };
        let file: String = hosts.iter().map(line).collect();
        prop_assert_eq!(parse_file(&file).unwrap(), hosts);
    }

    #[test]
    fn no_text_makes_a_parser_panic_and_errors_lie_inside_it(text in "[a-z0-9:,=#@ \\[\\]\\-\nslots()x\u{f6}]{0,60}") {
        for result in [parse_list(&text), parse_file(&text), from_slurm(&text, &text)] {
            match result {
                Ok(hosts) => prop_assert!(hosts.iter().all(|host| host.slots > 0 && !host.host.is_empty())),
                Err(error) => {
                    prop_assert!(error.line <= text.lines().count().max(1));
                    prop_assert!(error.column <= text.chars().count() + 1);
                }
            }
        }
    }

    #[test]
    fn every_rank_has_a_host_and_no_host_has_too_many(
        hosts in slots_of_hosts(),
        ranks in 0_usize..80,
        by_node: bool,
        allow: bool,
    ) {
        let map_by = if by_node { MapBy::Node } else { MapBy::Slot };
        let overload = if allow { Overload::Allow } else { Overload::Refuse };
        let slots: usize = hosts.iter().map(|host| host.slots as usize).sum();
        let Ok(placed) = place(&hosts, ranks, map_by, overload) else {
            prop_assert!(ranks > slots);
            return Ok(());
        };
        prop_assert_eq!(placed.len(), ranks);
        for (index, host) in hosts.iter().enumerate() {
            let count = placed.iter().filter(|&&at| at == index).count();
            let most = if ranks > slots { host.max_slots.unwrap_or(u32::MAX) } else { host.slots };
            prop_assert!(count <= most as usize);
            prop_assert!(ranks < slots || count >= host.slots as usize, "slots are used before more is asked of a host");
        }
        if !by_node {
            prop_assert!(placed.is_sorted());
        }
    }
}

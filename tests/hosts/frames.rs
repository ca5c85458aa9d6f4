//! As much of Ethernet, IP, TCP and UDP as a forwarder of frames has to know.

/// What a frame carries that programs send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

/// Says what a frame carries, and completes its checksum: the kernel leaves that to the hardware, and there is none. `None` for what is
/// neither TCP nor UDP, which it leaves as it is.
pub(crate) fn complete(frame: &mut [u8]) -> Option<Transport> {
    let (header, packet) = frame.split_at_mut_checked(ETHERNET)?;
    let (addresses, protocol, start, end) = match header {
        [.., 0x08, 0x00] => {
            let start = usize::from(packet.first()? & 0xf) * 4;
            let end = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
            (12..20, *packet.get(9)?, start, end)
        }
        [.., 0x86, 0xdd] => {
            let len = u16::from_be_bytes([*packet.get(4)?, *packet.get(5)?]);
            (8..40, *packet.get(6)?, 40, 40 + usize::from(len))
        }
        _ => return None,
    };
    let (transport, place) = match protocol {
        6 => (Transport::Tcp, 16),
        17 => (Transport::Udp, 6),
        _ => return None,
    };
    let pseudo = sum(packet.get(addresses)?) + u64::from(protocol) + (end - start) as u64;
    let segment = packet.get_mut(start..end)?;
    segment.get_mut(place..place + 2)?.fill(0);
    let checksum = match fold(pseudo + sum(segment)) {
        // To UDP zero means that there is none.
        0 => 0xffff,
        checksum => checksum,
    };
    segment[place..place + 2].copy_from_slice(&checksum.to_be_bytes());
    Some(transport)
}

/// The words of `bytes`, added up; of an odd number the last stands for a word with a zero.
fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<2>();
    let last = rest.first().map_or(0, |&byte| u64::from(byte) << 8);
    let words = words
        .iter()
        .map(|&word| u64::from(u16::from_be_bytes(word)));
    words.sum::<u64>() + last
}

/// The complement of the sum in 16 bits, with the carries added back.
fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Bytes of the header of a frame: two addresses and what comes after them.
const ETHERNET: usize = 14;

#[test]
fn checksums_are_those_of_the_standard() {
    // The example of RFC 1071, section 3.
    assert_eq!(
        !fold(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7])),
        0xddf2
    );

    let mut datagram = vec![0; ETHERNET];
    datagram[12] = 0x08;
    let header = [0x45, 0, 0, 33, 0, 0, 0, 0, 64, 17, 0, 0];
    datagram.extend(header);
    datagram.extend([10, 77, 0, 1, 10, 77, 0, 2]);
    let (ports, len, junk) = ([1, 2, 3, 4], [0, 13], [9, 9]);
    datagram.extend([&ports[..], &len, &junk, &[1, 2, 3, 4, 5]].concat());
    // What pads a short frame is no part of it.
    datagram.extend([0xff; 7]);
    assert_eq!(complete(&mut datagram), Some(Transport::Udp));
    let pseudo = sum(&datagram[26..34]) + 17 + 13;
    assert_eq!(
        fold(pseudo + sum(&datagram[34..47])),
        0,
        "all together is zero"
    );

    datagram[12..14].copy_from_slice(&[0x08, 0x06]);
    let before = datagram.clone();
    assert_eq!(complete(&mut datagram), None);
    assert_eq!(datagram, before);
}

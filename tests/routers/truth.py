#!/usr/bin/env python3
"""What a router does, found out with ordinary sockets and shown as JSON.

It stands apart from tso-probe: the hosts' own TCP sends every segment, and what a socket cannot
show (an external port before anything answered, the source of a SYN that comes back in) is read
from sets that nftables fills on the hosts beside the router.

usage: truth.py PREFIX SECONDS
PREFIX-in, PREFIX-core and PREFIX-a are network namespaces; SECONDS is how long silence is waited
out. The words are those of `tso-probe classify --json`.
"""

import ctypes
import errno
import json
import os
import random
import select
import socket
import struct
import subprocess
import sys
import time

PREFIX, PATIENCE = sys.argv[1], float(sys.argv[2])
HOSTS = ["192.168.1.2", "192.168.1.3"]
A, ALT = "203.0.113.10", "203.0.113.11"
EXTERNAL = "198.51.100.1"
LIBC = ctypes.CDLL(None, use_errno=True)
IP_RECVERR, CLONE_NEWNET = 11, 0x40000000
# An unmapped port, an inside port for each question: none is used twice.
PORTS = iter(random.sample(range(20000, 32000), 200))


def enter(host):
    """New sockets belong to this host from now on."""
    descriptor = os.open(f"/run/netns/{PREFIX}-{host}", os.O_RDONLY)
    if LIBC.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), f"cannot enter {host}")
    os.close(descriptor)


def run(host, *command, text=None):
    command = ["ip", "netns", "exec", f"{PREFIX}-{host}", *command]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command}: {done.stderr}")
    return done.stdout


def bound(host, address, port):
    enter(host)
    end = socket.socket()
    end.setblocking(False)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    end.setsockopt(socket.SOL_IP, IP_RECVERR, 1)
    # Closed with a reset, so that no port stays behind in TIME-WAIT.
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.bind((address, port))
    return end


def listening(host, address, port):
    end = bound(host, address, port)
    end.listen(64)
    return end


def connecting(host, address, port, remote):
    end = bound(host, address, port)
    why = end.connect_ex(remote)
    if why not in (0, errno.EINPROGRESS):
        raise OSError(why, f"{host} {address}:{port} cannot even try {remote}")
    return end


def icmp_of(end):
    """The ICMP error that ended a connection, as `3/13`; none for a reset."""
    try:
        _, ancillary, _, _ = end.recvmsg(1024, 1024, socket.MSG_ERRQUEUE)
    except OSError:
        return None
    for _, kind, data in ancillary:
        _, origin, icmp, code = struct.unpack_from("=IBBB", data)
        if kind == IP_RECVERR and origin == 2:
            return f"{icmp}/{code}"
    return None


def fate(end):
    icmp = icmp_of(end)
    why = end.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if icmp:
        return f"icmp-error {icmp}"
    return {0: "open", errno.ECONNREFUSED: "reset"}.get(why, errno.errorcode.get(why, str(why)))


def fates(ends, seconds):
    """What became of each connection: open, reset, icmp-error T/C, or dropped if nothing came."""
    waiting, ended = {end.fileno(): end for end in ends}, {}
    poll = select.poll()
    for descriptor in waiting:
        poll.register(descriptor, select.POLLOUT | select.POLLERR)
    deadline = time.monotonic() + seconds
    while waiting and (left := deadline - time.monotonic()) > 0:
        for descriptor, _ in poll.poll(left * 1000):
            poll.unregister(descriptor)
            end = waiting.pop(descriptor)
            ended[end] = fate(end)
    return [ended.get(end, "dropped") for end in ends]


def wait_for(what, condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not (got := condition()):
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited in vain for {what}")
        time.sleep(0.01)
    return got


def accepted(listener):
    """The peer of the next connection that came in, as this end sees it."""
    def come():
        try:
            return listener.accept()
        except BlockingIOError:
            return None
    return wait_for("a connection", come)


WATCH = """
table inet watch {
  set syns { typeof ip saddr . tcp sport . ip daddr . tcp dport; flags dynamic; size 65535; }
  set syn_acks { typeof ip saddr . tcp sport . ip daddr . tcp dport; flags dynamic; size 65535; }
  chain arrivals {
    type filter hook prerouting priority -400;
    iifname != IFACE return
    tcp flags & (syn|ack) == syn add @syns { ip saddr . tcp sport . ip daddr . tcp dport }
    tcp flags & (syn|ack) == (syn|ack) add @syn_acks { ip saddr . tcp sport . ip daddr . tcp dport }
  }
}
"""

SILENCE = """
table inet silent {
  chain in {
    type filter hook input priority 0
    ip daddr 203.0.113.10 tcp dport 7010 drop
  }
}
"""


def arrivals(host, kind):
    """(from, to) of all segments of this kind that have arrived at a host."""
    listed = json.loads(run(host, "nft", "-j", "list", "set", "inet", "watch", kind))
    sets = [item["set"] for item in listed["nftables"] if "set" in item]
    elements = [element["concat"] for item in sets for element in item.get("elem", [])]
    return {((one, int(its)), (other, int(theirs))) for one, its, other, theirs in elements}


def external_of(remote):
    """Where the SYN that went to this remote came from, outside the router."""
    def find():
        return [source for source, target in arrivals("core", "syns") if target == remote]
    return wait_for(f"a SYN to {remote}", find)[0]


def endpoints(host, port, remotes, listeners):
    """The external endpoints of one internal one towards these remotes; the sockets hold them."""
    held, seen = [], []
    for remote in remotes:
        held.append(connecting("in", host, port, remote))
        connection, peer = accepted(listeners[remote])
        held.append(connection)
        seen.append(peer)
    return seen, held


def dependence(one, other_port, other_address):
    if one == other_port == other_address:
        return "endpoint-independent"
    return "address-dependent" if one == other_port else "address-and-port-dependent"


STRICTNESS = ["endpoint-independent", "address-dependent", "address-and-port-dependent"]


def assignment(pairs):
    """How external ports were chosen for these internal ones."""
    if all(inner == outer for inner, outer in pairs):
        return "preservation"
    steps = {abs(two[1] - one[1]) for one, two in zip(pairs, pairs[1:])}
    return "sequential" if len(steps) == 1 else "random"


def mapping(remotes, listeners):
    classes, pairs, held = set(), [], []
    for _ in range(3):
        port = next(PORTS)
        seen, holds = endpoints(HOSTS[0], port, remotes, listeners)
        classes.add(dependence(*seen))
        pairs += [(port, outer) for _, outer in seen]
        held += holds
    (only,) = classes
    return only, assignment(pairs), held


def clash(remotes, listeners):
    """Two internal hosts want one port: the second comes to where it is taken first, or last."""
    held, classes, overlapping, choices = [], [], False, []
    for order in (remotes, remotes[::-1]) * 3:
        port = next(PORTS)
        first, holds = endpoints(HOSTS[0], port, remotes[:1], listeners)
        second, more = endpoints(HOSTS[1], port, order, listeners)
        held += holds + more
        by_remote = dict(zip(order, second))
        classes.append(dependence(*(by_remote[remote] for remote in remotes)))
        overlapping |= any(by_remote[remote] == first[0] for remote in remotes[1:])
        where_taken = by_remote[remotes[0]]
        choices.append((first[0], (HOSTS[1], port), where_taken))
    return {
        "mapping": max(classes, key=STRICTNESS.index),
        "port_assignment": clash_assignment(choices),
        "overlapping": overlapping,
        "order_counts": set(classes[0::2]) != set(classes[1::2]),
    }, held


def clash_assignment(choices):
    if all(first == second for first, _, second in choices):
        return "overloading"
    return assignment([(wanted[1], got[1]) for _, wanted, got in choices])


def intruders(contact):
    """SYNs from another port and from another address to a mapping that is held."""
    external = external_of(contact)
    other_port = connecting("a", A, next(PORTS), external)
    other_address = connecting("a", ALT, contact[1], external)
    return [other_port, other_address]


def held_mapping(contact, port):
    """A mapping of one internal port: a socket listens there, another contacts a remote."""
    listener = listening("in", HOSTS[0], port)
    return [listener, connecting("in", HOSTS[0], port, contact)]


def filtering(other_port, other_address):
    if other_address == "open":
        return "endpoint-independent" if other_port == "open" else "neither"
    return "address-dependent" if other_port == "open" else "address-and-port-dependent"


def hairpin(listeners, remote):
    """A SYN to an external endpoint of this host: from where does it come back in, if at all?"""
    target, caller = next(PORTS), next(PORTS)
    held = held_mapping(remote, target) + [listening("in", HOSTS[0], caller)]
    _, external = accepted(listeners[remote])
    held.append(connecting("in", HOSTS[0], caller, external))
    def back():
        came = arrivals("in", "syns")
        return [source for source, to in came if to == (HOSTS[0], target)]
    deadline = time.monotonic() + 2.5
    while not (sources := back()) and time.monotonic() < deadline:
        time.sleep(0.05)
    if not sources:
        return "unsupported", held
    return "internal-source" if sources[0][0] in HOSTS else "external-source", held


def hardware(host, interface):
    shown = json.loads(run(host, "ip", "-j", "link", "show", "dev", interface))
    return shown[0]["address"]


GATES = {EXTERNAL: "wan", A: "neta"}
FACING = [("edge", "wan", "198.51.100.254", "wan"), ("a", "eth0", "203.0.113.254", "neta")]


def shut_gates():
    """Keeps the host between router and remote from knowing their hardware addresses: what it has
    for them waits there. They themselves need not ask for its address, which would tell theirs."""
    for host, interface, gateway, facing in FACING:
        run(host, "ip", "neigh", "replace", gateway, "lladdr", hardware("core", facing),
            "dev", interface, "nud", "permanent")
        run(host, "sysctl", "-qw", f"net.ipv4.conf.{interface}.arp_ignore=8")
    for gate in GATES.values():
        run("core", "ip", "neigh", "flush", "dev", gate)


def open_gates(macs):
    """Lets go of what waits: first what goes out, then what goes in, which is moments later."""
    release = [f"neigh replace {address} lladdr {macs[address]} dev {GATES[address]} nud permanent"
               for address in (A, EXTERNAL)]
    run("core", "ip", "-batch", "-", text="\n".join(release) + "\n")


def forget_gates():
    for host, interface, gateway, _ in FACING:
        run(host, "ip", "neigh", "del", gateway, "dev", interface)
        run(host, "sysctl", "-qw", f"net.ipv4.conf.{interface}.arp_ignore=0")
    for address, gate in GATES.items():
        run("core", "ip", "neigh", "del", address, "dev", gate)


def simultaneous_open():
    """Two sockets open at once. The SYNs cross for certain: both wait until both have been sent."""
    macs = {EXTERNAL: hardware("edge", "wan"), A: hardware("a", "eth0")}
    inner, outer = next(PORTS), next(PORTS)
    shut_gates()
    inside = connecting("in", HOSTS[0], inner, (A, outer))
    external = external_of((A, outer))
    outside = connecting("a", A, outer, external)
    open_gates(macs)
    # Before anything is sent again, which a second after the first time would be no crossing.
    opened = fates([inside, outside], 0.5)
    out, back = (external, (A, outer)), ((A, outer), (HOSTS[0], inner))
    steps = [("syn-in", back, "in", "syns"), ("syn-ack-out", out, "a", "syn_acks"),
             ("syn-ack-in", back, "in", "syn_acks")]
    missing = [name for name, what, where, kind in steps if what not in arrivals(where, kind)]
    forget_gates()
    if missing:
        return {"value": "blocked", "blocked_at": missing[0]}
    return {"value": "supported" if opened == ["open", "open"] else f"crossed, but {opened}"}


def answer(fate_of):
    value, _, icmp = fate_of.partition(" ")
    return {"value": value, **({"icmp": icmp} if icmp else {})}


def truth():
    remotes = [(A, 7001), (A, 7002), (ALT, 7001)]
    listeners = {remote: listening("a", *remote) for remote in remotes}
    mapped, assigned, held = mapping(remotes, listeners)
    clashed, more = clash(remotes, listeners)
    # A remote that takes SYNs and says nothing, and one that opens.
    silent, greeting = (A, 7010), (A, 7020)
    greeter = listening("a", *greeting)
    held += more + held_mapping(silent, next(PORTS)) + held_mapping(greeting, next(PORTS))
    held.append(accepted(greeter))
    tries = intruders(silent) + intruders(greeting)
    tries.append(connecting("a", A, next(PORTS), (EXTERNAL, next(PORTS))))
    hairpinning, holds = hairpin(listeners, remotes[0])
    after_syn, established, unmapped = (lambda all: (all[0:2], all[2:4], all[4]))(
        fates(tries, PATIENCE))
    kept_out = [one for one in after_syn if one != "open"]
    return {
        "mapping": {"value": mapped},
        "port_assignment": {"value": assigned},
        "on_port_clash": {"value": clashed},
        "filtering": {"value": filtering(*after_syn),
                      "established": {"value": filtering(*established)}},
        "unsolicited_syn": {**answer(unmapped),
                            "filtered_port": answer(kept_out[0]) if kept_out else {"value": None}},
        "hairpinning": {"value": hairpinning},
        "simultaneous_open": simultaneous_open(),
    }


def main():
    for host, interface in (("in", "eth0"), ("core", "wan"), ("a", "eth0")):
        run(host, "nft", "-f", "-", text=WATCH.replace("IFACE", interface))
    run("a", "nft", "-f", "-", text=SILENCE)
    try:
        print(json.dumps(truth()))
    finally:
        for host, table in (("in", "watch"), ("core", "watch"), ("a", "watch"), ("a", "silent")):
            run(host, "nft", "delete", "table", "inet", table)


main()

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The codes of causes, in the order in which they are named: what comes first hides the rest. */
#include "diagnose.h"

const struct nb_code nb_codes[] = {
	{ "invalid-file", 10, "while a rule file is invalid, 'apply' applies none of them" },
	{ "self-denied", 15, "what nat-bridge may not read it cannot see, and may not change" },
	{ "engine", 20, "nobody but the engine knows which bridge its network is" },
	{ "engine-rootless", 20,
	  "this host's rules do not reach into the network namespace of a rootless engine" },
	{ "engine-desktop", 20, "packets from a virtual machine come through no bridge" },
	{ "engine-snap", 20, "nobody but the engine knows which bridge its network is" },
	{ "bridge-absent", 30,
	  "a mapping needs the device through which the containers' packets "
	  "come" },
	{ "expired", 40, "what is over is closed, and stays closed" },
	{ "disabled", 40, "\"enabled\": false asks for nothing in the kernel" },
	{ "wrong-network", 50, "what counts is the bridge from which the packet comes" },
	{ "not-mapped", 50, "nothing unmapped is reachable" },
	{ "not-applied", 60, "rule files alone do nothing: the kernel does what it was told last" },
	{ "bridge-down", 70, "a device that is down takes no packet in" },
	{ "bridge-address", 80,
	  "containers dial an address of the host, and this bridge has none" },
	{ "loopback", 85, "packets are for the target's address, which is to be the host's own" },
	{ "container-way", 86, "a container sends by routes of its own" },
	{ "route-localnet", 90,
	  "without it the kernel drops packets to 127.0.0.0/8 that come from "
	  "outside" },
	{ "conntrack-full", 100, "a new connection has no room in the table, and is dropped" },
	{ "hijacked", 110, "who translates the packet first decides where it goes" },
	{ "untracked", 120, "what is not tracked is not translated" },
	{ "mark", 130, "packets pass other firewalls by our mark" },
	{ "firewall", 140, "an accept of ours is not final: the packet goes on to other chains" },
	{ "firewall-owned", 140, "nobody but the process that owns the table may change it" },
	{ "firewall-legacy", 140, "nf_tables does not reach the chains of iptables-legacy" },
	{ "ipsec", 145, "a policy of IPsec decides on packets when they are routed" },
	{ "reverse-path", 150, "the kernel drops what comes from where it would not send to" },
	{ "routing", 160, "answers that take another way never come back to the container" },
	{ "traffic-control", 170, "what drops there is asked before any firewall" },
	{ "isolated-port", 170, "frames do not pass between the container's port and the bridge" },
	{ "service-denied", 175,
	  "what a security module denies, the service's own configuration does not show" },
	{ "listener-device", 180,
	  "a socket that is bound to a device refuses what comes from "
	  "another" },
	{ "listener-address", 190,
	  "packets are for the target's address, and nobody takes them "
	  "there" },
	{ "no-listener", 200,
	  "nobody takes the packets: the container reads \"connection refused\"" },
	{ "service-hangs", 205,
	  "what the service does not take from its queue is dropped when that is full" },
	{ "service-refuses", 210, "the service sees the container's address, not 127.0.0.1" },
	{ "service-name", 212,
	  "a web server that is meant for this host alone takes no other name for it: it is how "
	  "it keeps browsers of strangers out" },
	{ "service-asks", 214, "what the container is to send along, only its owner knows" },
	{ "resolves", 220, "the container dials what the name means to it" },
	{ "guard", 230, "unmapped ports of 127.0.0.1 are not closed as they should be" },
	{ "route-localnet-all", 240,
	  "every device lets packets to 127.0.0.0/8 in, also those "
	  "without a guard" },
	{ "route-localnet-device", 242,
	  "neighbours on it reach every service of 127.0.0.1, by frames that are addressed to it" },
	{ "published", 250, "our translation comes before the engine's" },
	{ "service-open", 260, "the mapping is not the only way to it" },
	{ "no-cause", 900, "something that is not looked at here keeps the packets" },
};
const size_t nb_code_count = sizeof(nb_codes) / sizeof(nb_codes[0]);

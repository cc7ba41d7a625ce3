/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Packets of our own, sent from where containers are, or the LAN.
 *
 * A place is a network namespace without a name: a descriptor of this process alone holds it. Its
 * device is one end of a veth, which dies with either of its ends. So everything is gone when the
 * process ends, however it ends.
 */
#ifndef NAT_BRIDGE_PROBE_H
#define NAT_BRIDGE_PROBE_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "nat-bridge/error.h"
#include "nat-bridge/netlink.h"

/*
 * Names of our devices in the host's namespace begin with this: the udev rule and the watcher know
 * by it that they are none of their business.
 */
#define NB_PROBE_PREFIX "nbprobe"

struct nb_probe_place;

/*
 * A place on @bridge, as a container would have it: an address of the bridge's network that nobody
 * answers for (asked by ARP), and the bridge's first address as gateway. 0, or -errno with @err
 * filled: the bridge has no address, does not answer, or has no free address. @nl is borrowed
 * until nb_probe_leave().
 */
int nb_probe_join(struct nb_netlink *nl, const char *bridge, struct nb_probe_place **ret,
		  struct nb_error *err);
/* The same; never one of the @count addresses in @avoid (host byte order), either. */
int nb_probe_join_beside(struct nb_netlink *nl, const char *bridge, const uint32_t *avoid,
			 size_t count, struct nb_probe_place **ret, struct nb_error *err);
/*
 * A network that the host has not seen before, with addresses of 198.18.0.0/15 that it does not
 * use: it stands for the LAN, and for a network that comes tomorrow. It has no bridge: that would
 * not die with its maker, and the host sees no difference but the one that br_netfilter makes,
 * which a place on a bridge that exists shows.
 */
int nb_probe_new_network(struct nb_netlink *nl, struct nb_probe_place **ret, struct nb_error *err);
/*
 * The network namespace of a process, as a container's. Nothing is made, and raw frames cannot be
 * sent from there. -EINVAL: it is the caller's own.
 */
int nb_probe_enter(pid_t pid, struct nb_probe_place **ret, struct nb_error *err);
/*
 * Of a place that was entered: @gateway (host byte order) is the host's address from now on, and the
 * one from which that namespace would send to it the place's own. -EADDRNOTAVAIL: that is not in the
 * gateway's network, of @length bits, so another bridge is on the way there, or none. Of 0 and of 32
 * bits any address is taken for one of that network.
 */
int nb_probe_face(struct nb_probe_place *place, uint32_t gateway, unsigned int length,
		  struct nb_error *err);
/*
 * Do @work(@data) in the place's network namespace, in a thread of its own: sockets that it opens are
 * that namespace's. Returns what it returns, or -errno.
 */
int nb_probe_do(struct nb_probe_place *place, int (*work)(void *data), void *data);
void nb_probe_leave(struct nb_probe_place *place); /* NULL is allowed */

/* Own address and the host's, in host byte order; 0 in a place that was entered, before nb_probe_face(). */
uint32_t nb_probe_address(const struct nb_probe_place *place);
uint32_t nb_probe_gateway(const struct nb_probe_place *place);

/* How packets from a place to some address go. */
struct nb_probe_way {
	bool exists;
	bool local;		  /* the place has the address itself */
	uint32_t gateway;	  /* the next hop; 0: the address is on the link */
	char device[IF_NAMESIZE]; /* in the place, through which they go */
	int peer; /* index of that device's other end, a veth's in another namespace; 0: it is none */
	/* the device's first address and its network's length; 0: none */
	uint32_t source;
	unsigned int length;
};

/* Look up the way to @address (host byte order). 0, or -errno with @err filled. */
int nb_probe_find_way(struct nb_probe_place *place, uint32_t address, struct nb_probe_way *ret,
		      struct nb_error *err);

/* The device of the place whose other end has the index @peer: its name and address, and no gateway. */
int nb_probe_find_device(struct nb_probe_place *place, int peer, struct nb_probe_way *ret,
			 struct nb_error *err);

enum nb_probe_result {
	NB_PROBE_CONNECTED,
	NB_PROBE_REFUSED,
	NB_PROBE_TIMED_OUT,   /* no answer; of raw UDP too, which "sent" would make sound better */
	NB_PROBE_UNREACHABLE, /* no route there, or an ICMP error that says so */
	NB_PROBE_SENT,	      /* UDP: neither an answer nor a refusal */
	NB_PROBE_ANSWERED,    /* UDP */
	NB_PROBE_FAILED,      /* of itself: the error is in number */
};

/* All numbers in host byte order. */
struct nb_probe {
	/* what is sent, by TCP once it is connected; NULL: nothing, by UDP an empty datagram */
	const void *payload;
	size_t length;
	uint32_t address;
	uint16_t port;
	uint16_t source_port; /* 0: any; then it is filled */
	uint8_t protocol;     /* IPPROTO_TCP or IPPROTO_UDP */
	bool spoke;	      /* TCP: something came back */
	bool closed;	      /* TCP with patience: the other side hung up */
	/* TCP: how long it may say something, or hang up, once what is sent is sent; 0: no time */
	int patience_ms;
	char *said; /* its first bytes, if not NULL; a 0 byte stands behind them */
	size_t said_size, said_length;
	enum nb_probe_result result;
	int number; /* positive errno */
};

/*
 * Send all @probes from @place, many at once, and fill their results. A TCP connection is reset
 * when it stands (with a payload: when an answer came, or the time is over; with patience: when the
 * other side hung up, or that time is over). Each has @timeout_ms. @place NULL: from here.
 */
int nb_probe_run(struct nb_probe_place *place, struct nb_probe *probes, size_t count,
		 int timeout_ms, struct nb_error *err);

/*
 * The same; before TCP connections are reset whose patience is over @look is told of them, all at once.
 * The caller waits meanwhile, but @look runs in a thread that is in the place's network namespace:
 * whatever it opens is of that one.
 */
typedef void nb_probe_look_fn(struct nb_probe *const *standing, size_t count, void *data);
int nb_probe_run_watched(struct nb_probe_place *place, struct nb_probe *probes, size_t count,
			 int timeout_ms, nb_probe_look_fn *look, void *data, struct nb_error *err);

/* A frame to the host's MAC address that no IP stack would send: a TCP SYN, an empty datagram. */
struct nb_raw_probe {
	uint8_t protocol;
	uint32_t source; /* 0: the place's own */
	uint32_t address;
	uint16_t port;
	uint16_t source_port; /* filled: no two probes of a place have the same */
	/* CONNECTED: a SYN-ACK came back; REFUSED: a reset, or "port unreachable" */
	enum nb_probe_result result;
};

/* Each frame is sent three times in @timeout_ms. What was answered by SYN-ACK is reset. */
int nb_probe_raw(struct nb_probe_place *place, struct nb_raw_probe *probes, size_t count,
		 int timeout_ms, struct nb_error *err);

/*
 * What of a place's packets the host hands to its sockets: behind all hooks, before any socket. Of TCP
 * only what begins a connection, of UDP only what is as short as a probe.
 */
struct nb_arrival {
	uint8_t protocol;
	uint32_t address; /* as the packet had it then */
	uint16_t port;
	uint16_t source_port;
};

struct nb_probe_ear;

/* Listen to what comes from @place's own address, in the caller's namespace. */
int nb_probe_listen(const struct nb_probe_place *place, struct nb_probe_ear **ret,
		    struct nb_error *err);
/*
 * All that arrived since, each once, sorted by protocol and source port. @ret_items is allocated.
 * False: there is no memory.
 */
bool nb_probe_heard(struct nb_probe_ear *ear, struct nb_arrival **ret_items, size_t *ret_count);
void nb_probe_deafen(struct nb_probe_ear *ear); /* NULL is allowed */

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The one place that talks to netlink sockets: requests, dumps, batches, and
 * acknowledgements matched by sequence number.
 */
#ifndef NAT_BRIDGE_NETLINK_H
#define NAT_BRIDGE_NETLINK_H

#include <libmnl/libmnl.h>
#include <stdbool.h>
#include <stdint.h>

#include "nat-bridge/error.h"

/* Sockets are opened at first use, one for each netlink family. */
struct nb_netlink;

struct nb_netlink *nb_netlink_new(void); /* NULL: out of memory */
void nb_netlink_free(struct nb_netlink *nl);

/* The port of the socket of that family, which events of a change of ours carry; 0: not opened. */
uint32_t nb_netlink_port(const struct nb_netlink *nl, int bus);

/* Room for a request of ours and for one datagram of the kernel's answer to a dump. */
#define NB_NETLINK_BUFFER 65536

/* What the kernel said of one message. */
struct nb_netlink_ack {
	uint32_t sequence;
	int number;	   /* positive errno */
	uint32_t offset;   /* of the offending attribute in the message, 0 if unknown */
	char message[160]; /* extended ack, or "" */
};

/*
 * Send @request (its sequence and NLM_F_REQUEST are set here) to netlink
 * family @bus (NETLINK_ROUTE, NETLINK_NETFILTER, NETLINK_SOCK_DIAG) and hand
 * each answer to @callback until the kernel says that it is done. With
 * NLM_F_DUMP that is NLMSG_DONE; without, it is the acknowledgement, which is asked for.
 * @callback may be NULL; a negative return of it ends the walk and is returned.
 * Returns 0, or a negative errno: the kernel's own without @err being
 * worded for users; @ack (if not NULL) then has the details.
 * -EINTR: the dump was inconsistent (NLM_F_DUMP_INTR); ask again.
 */
int nb_netlink_ask(struct nb_netlink *nl, int bus, struct nlmsghdr *request,
		   int (*callback)(const struct nlmsghdr *message, void *data), void *data,
		   struct nb_netlink_ack *ack);

/*
 * nb_netlink_ask() with NLM_F_DUMP, and again, ten times at most, while somebody changes what is dumped.
 * @restart(@data), if it is not NULL, comes before each: what an inconsistent dump showed may be gone.
 * -EINTR: it was inconsistent each time.
 */
int nb_netlink_dump(struct nb_netlink *nl, int bus, struct nlmsghdr *request,
		    int (*callback)(const struct nlmsghdr *message, void *data),
		    void (*restart)(void *data), void *data, struct nb_netlink_ack *ack);

/*
 * Send @count requests, which stand one directly behind the other from @first on, in one
 * datagram, so that no process ends between them; the answer, and the return value, are the
 * last one's alone. The kernel carries out those behind one that fails, too: *@ret_first, if it is not
 * NULL, is what became of the first one, 0 or a negative errno; -EINPROGRESS: nobody knows.
 */
int nb_netlink_ask_last(struct nb_netlink *nl, int bus, struct nlmsghdr *first, size_t count,
			int *ret_first, struct nb_netlink_ack *ack);

/*
 * Send a ready nfnetlink batch of @length bytes in one datagram and collect
 * the errors. Returns 0 if the kernel committed it; otherwise the first error's negative errno
 * and up to *@ack_count acks in the order of the messages. -EINPROGRESS: it
 * was sent, but the answer was lost, so nobody knows.
 */
int nb_netlink_commit(struct nb_netlink *nl, const void *batch, size_t length, uint32_t last,
		      struct nb_netlink_ack *acks, size_t *ack_count);

/* A fresh block of @count sequence numbers; returns the first. */
uint32_t nb_netlink_sequences(struct nb_netlink *nl, uint32_t count);

/* Word a kernel refusal: "add mapping …: Operation not permitted (run it as root …): ext ack". */
int nb_netlink_error(struct nb_error *err, const struct nb_netlink_ack *ack, int number,
		     const char *operation);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guard at a device's ingress, which nf_tables does not know of: a BPF
 * classifier in a clsact qdisc. It drops every IPv4 packet from or to
 * 127.0.0.0/8 that does not carry our mark, and only chain `translated` of our
 * table gives that mark to packets before they are here. So without our table,
 * after `nft flush ruleset`, nothing to 127.0.0.0/8 passes, mapped or not.
 *
 * It lives exactly as long as the device whose route_localnet it guards, and
 * needs no process.
 */
#ifndef NAT_BRIDGE_INGRESS_H
#define NAT_BRIDGE_INGRESS_H

#include "nat-bridge/link.h"

/* "nb", as in the tag */
#define NB_INGRESS_HANDLE UINT32_C(0x6e62)
/*
 * tc(8) gives 49152 and less to whoever asks for none, people write 1, 10, 100: this
 * is nobody's, and early.
 */
#define NB_INGRESS_PRIORITY 9

/* Can such a filter be had, on this kernel and by this process? */
enum nb_ingress_support {
	NB_INGRESS_UNASKED,
	NB_INGRESS_POSSIBLE,
	NB_INGRESS_IMPOSSIBLE,
};

/*
 * Read the filter of ours on one device, or on all of @list, into its `ingress`.
 * @mark is the one that a current filter has. Returns 0 or a negative errno with @err worded.
 */
int nb_ingress_read(struct nb_netlink *nl, struct nb_link *link, uint32_t mark,
		    struct nb_error *err);
int nb_ingress_read_all(struct nb_netlink *nl, struct nb_link_list *list, uint32_t mark,
			struct nb_error *err);

/*
 * May this process have such a filter on this kernel? Changes nothing. Returns the loaded
 * classifier, a file descriptor for the caller to close; or a negative errno, and
 * @why says what stands against it: "bpf(2): Operation not permitted".
 */
int nb_ingress_probe(struct nb_netlink *nl, uint32_t mark, char *why, size_t why_size);

/*
 * Attach @program, made for @mark, to the ingress of @ifindex, in place of @old if that is one of
 * ours. A qdisc is made if there is none; one that is there is ours if @old says so.
 * Returns 0 or a negative errno, the kernel's own, with
 * @ack filled; -ENODEV: the device is gone.
 */
int nb_ingress_attach(struct nb_netlink *nl, int ifindex, const struct nb_ingress *old, int program,
		      uint32_t mark, struct nb_netlink_ack *ack);
/* Does that errno mean that such a filter cannot be had here? */
bool nb_ingress_is_impossible(int number);
/*
 * Detach @old, and the qdisc with it if we made it and nobody else has a filter there. Of @old the
 * filter may be gone, and only the qdisc there.
 * What is gone already is no failure.
 */
int nb_ingress_detach(struct nb_netlink *nl, int ifindex, const struct nb_ingress *old,
		      struct nb_netlink_ack *ack);

/* Load the classifier for @mark. Returns a file descriptor, or a negative errno. */
int nb_ingress_load(uint32_t mark);

#endif

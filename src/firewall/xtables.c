/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Matches and targets of iptables. Their data is what the kernel's own headers say; one of
 * another revision or size is one that nobody knows.
 */
#include <arpa/inet.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/xt_CT.h>
#include <linux/netfilter/xt_addrtype.h>
#include <linux/netfilter/xt_connmark.h>
#include <linux/netfilter/xt_conntrack.h>
#include <linux/netfilter/xt_mark.h>
#include <linux/netfilter/xt_multiport.h>
#include <linux/netfilter/xt_state.h>
#include <linux/netfilter/xt_tcpudp.h>
#include <netinet/in.h>
#include <string.h>

#include "xtables.h"

static enum nb_truth masked_equal(uint32_t have, uint32_t known, uint32_t mask, uint32_t want)
{
	if (((have & mask) ^ want) & (known | ~mask))
		return NB_NO;
	return (mask & ~known) ? NB_MAYBE : NB_YES;
}

static enum nb_truth flip(enum nb_truth truth, bool inverted)
{
	return inverted ? nb_truth_not(truth) : truth;
}

/* One of two ports, 0 source, 1 destination: is it within [from, to]? */
static enum nb_truth port_within(const struct nb_packet *packet, int which, uint16_t from,
				 uint16_t to)
{
	const uint8_t *bytes = &packet->ports[which * 2];
	uint16_t port = (uint16_t)(bytes[0] << 8 | bytes[1]);

	if (from == 0 && to == UINT16_MAX)
		return NB_YES;
	if (!packet->ports_known[which * 2])
		return NB_MAYBE;
	return port >= from && port <= to ? NB_YES : NB_NO;
}

static enum nb_truth match_mark(const struct nb_packet *packet, const void *data)
{
	struct xt_mark_mtinfo1 info;

	memcpy(&info, data, sizeof(info));
	return flip(masked_equal(packet->mark, packet->mark_known, info.mask, info.mark),
		    info.invert);
}

static enum nb_truth match_connmark(const struct nb_packet *packet, const void *data)
{
	struct xt_connmark_mtinfo1 info;

	if (!nb_packet_is_tracked(packet))
		return NB_MAYBE;
	memcpy(&info, data, sizeof(info));
	return flip(masked_equal(packet->ct_mark, packet->ct_mark_known, info.mask, info.mark),
		    info.invert);
}

/* Is one of these states the packet's? Both count as bits of nf_tables. */
static enum nb_truth match_states(const struct nb_packet *packet, uint32_t states)
{
	uint32_t possible = (packet->ct_state & packet->ct_state_known) | ~packet->ct_state_known;

	if (!(possible & states))
		return NB_NO;
	return packet->ct_state & packet->ct_state_known & states ? NB_YES : NB_MAYBE;
}

static enum nb_truth match_state(const struct nb_packet *packet, const void *data)
{
	struct xt_state_info info;

	memcpy(&info, data, sizeof(info));
	return match_states(packet, info.statemask);
}

static enum nb_truth status_bit(const struct nb_packet *packet, uint32_t bits)
{
	if (packet->ct_status & packet->ct_status_known & bits)
		return NB_YES;
	return (bits & ~packet->ct_status_known) ? NB_MAYBE : NB_NO;
}

/* Ports are a range in host byte order since revision 3, one in network byte order before. */
static enum nb_truth is_dialled(const struct nb_packet *packet,
				const struct xt_conntrack_mtinfo3 *info, uint32_t revision)
{
	uint16_t first = info->origdst_port, last = info->origdst_port_high;

	if (!packet->ct_dialled)
		return NB_MAYBE;
	if (revision < 3)
		first = last = ntohs(first);
	return first <= packet->ct_dialled && packet->ct_dialled <= last ? NB_YES : NB_NO;
}

static enum nb_truth match_conntrack(const struct nb_packet *packet, uint32_t revision,
				     const void *data, size_t length)
{
	struct xt_conntrack_mtinfo3 info = { 0 };
	enum nb_truth result = NB_YES, one;
	uint32_t states, status;

	if (revision == 1) {
		struct xt_conntrack_mtinfo1 old;

		if (length < sizeof(old))
			return NB_MAYBE;
		memcpy(&old, data, sizeof(old));
		info.match_flags = old.match_flags;
		info.invert_flags = old.invert_flags;
		info.state_mask = old.state_mask;
		info.status_mask = old.status_mask;
		info.origdst_port = old.origdst_port;
	} else if ((revision == 2 && length >= sizeof(struct xt_conntrack_mtinfo2)) ||
		   (revision == 3 && length >= sizeof(info))) {
		memcpy(&info, data,
		       revision == 2 ? sizeof(struct xt_conntrack_mtinfo2) : sizeof(info));
	} else {
		return NB_MAYBE;
	}
	if (info.match_flags & XT_CONNTRACK_STATE) {
		states = info.state_mask;
		/* the last of them has another bit in nf_tables */
		one = match_states(packet, (states & 0xf) | (states & XT_CONNTRACK_STATE_UNTRACKED
								     ? NF_CT_STATE_UNTRACKED_BIT
								     : 0));
		if (one != NB_YES && (states & XT_CONNTRACK_STATE_DNAT)) {
			enum nb_truth dnat = status_bit(packet, IPS_DST_NAT);

			one = dnat > one ? dnat : one;
		}
		if (one == NB_NO && (states & XT_CONNTRACK_STATE_SNAT))
			one = status_bit(packet, IPS_SRC_NAT);
		result = nb_truth_and(result, flip(one, info.invert_flags & XT_CONNTRACK_STATE));
	}
	if (info.match_flags & XT_CONNTRACK_STATUS) {
		status = info.status_mask;
		one = status ? status_bit(packet, status) : NB_MAYBE;
		result = nb_truth_and(result, flip(one, info.invert_flags & XT_CONNTRACK_STATUS));
	}
	if (info.match_flags & XT_CONNTRACK_DIRECTION) {
		one = packet->ct_direction == NB_DIRECTION_UNKNOWN ? NB_MAYBE
		      : packet->ct_direction == IP_CT_DIR_ORIGINAL ? NB_YES
								   : NB_NO;
		result = nb_truth_and(result,
				      flip(one, info.invert_flags & XT_CONNTRACK_DIRECTION));
	}
	if (info.match_flags & XT_CONNTRACK_ORIGDST_PORT)
		result = nb_truth_and(result, flip(is_dialled(packet, &info, revision),
						   info.invert_flags & XT_CONNTRACK_ORIGDST_PORT));
	if (info.match_flags & ~(XT_CONNTRACK_STATE | XT_CONNTRACK_STATUS | XT_CONNTRACK_DIRECTION |
				 XT_CONNTRACK_STATE_ALIAS | XT_CONNTRACK_ORIGDST_PORT))
		result = nb_truth_and(result, NB_MAYBE);
	return result;
}

static enum nb_truth is_protocol(const struct nb_packet *packet, uint8_t protocol)
{
	uint8_t own = nb_packet_protocol(packet);

	return own == 0 ? NB_MAYBE : own == protocol ? NB_YES : NB_NO;
}

static enum nb_truth match_tcp(const struct nb_packet *packet, const void *data)
{
	struct xt_tcp info;
	enum nb_truth result = is_protocol(packet, IPPROTO_TCP);

	memcpy(&info, data, sizeof(info));
	result = nb_truth_and(result, flip(port_within(packet, 0, info.spts[0], info.spts[1]),
					   info.invflags & XT_TCP_INV_SRCPT));
	result = nb_truth_and(result, flip(port_within(packet, 1, info.dpts[0], info.dpts[1]),
					   info.invflags & XT_TCP_INV_DSTPT));
	/* of flags and options nothing is known */
	return info.flg_mask || info.option ? nb_truth_and(result, NB_MAYBE) : result;
}

static enum nb_truth match_udp(const struct nb_packet *packet, const void *data)
{
	struct xt_udp info;
	enum nb_truth result = is_protocol(packet, IPPROTO_UDP);

	memcpy(&info, data, sizeof(info));
	result = nb_truth_and(result, flip(port_within(packet, 0, info.spts[0], info.spts[1]),
					   info.invflags & XT_UDP_INV_SRCPT));
	return nb_truth_and(result, flip(port_within(packet, 1, info.dpts[0], info.dpts[1]),
					 info.invflags & XT_UDP_INV_DSTPT));
}

static enum nb_truth match_multiport(const struct nb_packet *packet, const void *data)
{
	struct xt_multiport_v1 info;
	enum nb_truth result = NB_NO;

	memcpy(&info, data, sizeof(info));
	for (size_t i = 0; i < info.count && i < XT_MULTI_PORTS; i++) {
		uint16_t from = info.ports[i], to = from;

		if (info.pflags[i] && i + 1 < XT_MULTI_PORTS)
			to = info.ports[++i];
		for (int which = 0; which < 2; which++) {
			enum nb_truth one;

			if ((info.flags == XT_MULTIPORT_SOURCE && which == 1) ||
			    (info.flags == XT_MULTIPORT_DESTINATION && which == 0))
				continue;
			one = port_within(packet, which, from, to);
			result = one > result ? one : result;
		}
	}
	return flip(result, info.invert);
}

/* Types count as bits, by the numbers of routes. */
static enum nb_truth match_type(uint8_t type, uint16_t types, bool inverted)
{
	if (!types)
		return NB_YES;
	if (!type)
		return NB_MAYBE;
	return flip(types & 1u << type ? NB_YES : NB_NO, inverted);
}

static enum nb_truth match_addrtype(const struct nb_packet *packet, const void *data)
{
	struct xt_addrtype_info_v1 info;
	bool limited;

	memcpy(&info, data, sizeof(info));
	limited = info.flags & (XT_ADDRTYPE_LIMIT_IFACE_IN | XT_ADDRTYPE_LIMIT_IFACE_OUT);
	return nb_truth_and(match_type(nb_packet_source_type(packet, limited), info.source,
				       info.flags & XT_ADDRTYPE_INVERT_SOURCE),
			    match_type(nb_packet_destination_type(packet, limited), info.dest,
				       info.flags & XT_ADDRTYPE_INVERT_DEST));
}

enum nb_truth nb_xt_match(const struct nb_packet *packet, const char *name, uint32_t revision,
			  const void *info, size_t length)
{
	static const struct {
		const char *name;
		uint32_t revision;
		size_t size;
		enum nb_truth (*match)(const struct nb_packet *, const void *);
	} known[] = {
		{ "mark", 1, sizeof(struct xt_mark_mtinfo1), match_mark },
		{ "connmark", 1, sizeof(struct xt_connmark_mtinfo1), match_connmark },
		{ "state", 0, sizeof(struct xt_state_info), match_state },
		{ "tcp", 0, sizeof(struct xt_tcp), match_tcp },
		{ "udp", 0, sizeof(struct xt_udp), match_udp },
		{ "addrtype", 1, sizeof(struct xt_addrtype_info_v1), match_addrtype },
		{ "multiport", 1, sizeof(struct xt_multiport_v1), match_multiport },
	};

	if (!name || !info)
		return NB_MAYBE;
	if (strcmp(name, "comment") == 0)
		return NB_YES;
	if (strcmp(name, "conntrack") == 0)
		return match_conntrack(packet, revision, info, length);
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(name, known[i].name) == 0 && revision == known[i].revision &&
		    length >= known[i].size)
			return known[i].match(packet, info);
	return NB_MAYBE;
}

static enum nb_xt_effect set_mark(uint32_t revision, const void *data, size_t length,
				  struct nb_mark_change *ret)
{
	struct xt_mark_tginfo2 info;

	*ret = (struct nb_mark_change){ .unknown = UINT32_MAX };
	if (revision == 2 && length >= sizeof(info)) {
		memcpy(&info, data, sizeof(info));
		/* bits of the value outside of the mask are flipped: only those are unknown */
		*ret = (struct nb_mark_change){
			.mask = info.mask,
			.value = info.mark & info.mask,
			.unknown = info.mark & ~info.mask,
		};
	}
	return NB_XT_MARKS;
}

/* Of one mark into the other: bits that lie outside of @mask are flipped. */
static struct nb_mark_change copy_mark(uint32_t mask, uint32_t from_mask, uint32_t from,
				       uint32_t from_known)
{
	uint32_t unsure = from_mask & ~from_known;

	from &= from_mask & from_known;
	return (struct nb_mark_change){
		.mask = mask,
		.value = from & mask,
		.unknown = unsure | (from & ~mask),
	};
}

bool nb_xt_connmark(uint32_t revision, const void *info, size_t length,
		    struct xt_connmark_tginfo2 *ret)
{
	struct xt_connmark_tginfo1 old;

	if (revision == 2 && length >= sizeof(*ret)) {
		memcpy(ret, info, sizeof(*ret));
		return true;
	}
	if (revision != 1 || length < sizeof(old))
		return false;
	memcpy(&old, info, sizeof(old));
	*ret = (struct xt_connmark_tginfo2){
		.ctmark = old.ctmark,
		.ctmask = old.ctmask,
		.nfmask = old.nfmask,
		.mode = old.mode,
	};
	return true;
}

static enum nb_xt_effect set_connmark(const struct nb_packet *packet, uint32_t revision,
				      const void *data, size_t length, struct nb_mark_change *ret)
{
	struct xt_connmark_tginfo2 info;

	*ret = (struct nb_mark_change){ .unknown = UINT32_MAX };
	if (!nb_xt_connmark(revision, data, length, &info))
		return NB_XT_MARKS;
	/* without a connection it does nothing */
	if (!nb_packet_is_tracked(packet))
		return NB_XT_CONTINUES;
	switch (info.mode) {
	case XT_CONNMARK_SET:
		if (!info.shift_bits)
			*ret = copy_mark(info.ctmask, UINT32_MAX, info.ctmark, UINT32_MAX);
		return NB_XT_MARKS_CONNECTION;
	case XT_CONNMARK_SAVE:
		if (!info.shift_bits)
			*ret = copy_mark(info.ctmask, info.nfmask, packet->mark,
					 packet->mark_known);
		return NB_XT_MARKS_CONNECTION;
	case XT_CONNMARK_RESTORE:
		if (!info.shift_bits)
			*ret = copy_mark(info.nfmask, info.ctmask, packet->ct_mark,
					 packet->ct_mark_known);
		return NB_XT_MARKS;
	}
	return NB_XT_MARKS;
}

static enum nb_xt_effect set_zone(const struct nb_packet *packet, const void *data, size_t length,
				  struct nb_xt_change *ret)
{
	struct xt_ct_target_info info;

	/* the same in all revisions: flags and zone */
	if (length < offsetof(struct xt_ct_target_info, ct_events))
		return NB_XT_MAY_DROP;
	memcpy(&info, data, offsetof(struct xt_ct_target_info, ct_events));
	if (info.flags & XT_CT_NOTRACK)
		return NB_XT_UNTRACKS;
	ret->zone_known = true;
	ret->zone = info.zone;
	/* the mark counts that the packet has a little later, when it is tracked */
	if (info.flags & XT_CT_ZONE_MARK) {
		ret->zone_known = (packet->mark_known & UINT16_MAX) == UINT16_MAX;
		ret->zone = (uint16_t)packet->mark;
	}
	if ((info.flags & (XT_CT_ZONE_DIR_ORIG | XT_CT_ZONE_DIR_REPL)) == XT_CT_ZONE_DIR_ORIG) {
		ret->zone_known = true;
		ret->zone = 0;
	}
	return NB_XT_ZONES;
}

bool nb_xt_nat_range(const void *info, size_t length, struct nb_nat_range *ret)
{
	unsigned int flags;

	memset(ret, 0, sizeof(*ret));
	/* the first revision of both, with what aligns it; 2 has a field behind those of 1 */
	if (length >= sizeof(struct nf_nat_ipv4_multi_range_compat) &&
	    length < sizeof(struct nf_nat_range)) {
		struct nf_nat_ipv4_multi_range_compat old;

		memcpy(&old, info, sizeof(old));
		flags = old.range[0].flags;
		ret->first_address = ntohl(old.range[0].min_ip);
		ret->last_address = ntohl(old.range[0].max_ip);
		ret->first_port = ntohs(old.range[0].min.all);
		ret->last_port = ntohs(old.range[0].max.all);
	} else if (length >= sizeof(struct nf_nat_range)) {
		struct nf_nat_range range;

		memcpy(&range, info, sizeof(range));
		flags = range.flags;
		ret->first_address = ntohl(range.min_addr.ip);
		ret->last_address = ntohl(range.max_addr.ip);
		ret->first_port = ntohs(range.min_proto.all);
		ret->last_port = ntohs(range.max_proto.all);
	} else {
		return false;
	}
	if (!(flags & NF_NAT_RANGE_MAP_IPS))
		ret->first_address = ret->last_address = 0;
	if (!(flags & NF_NAT_RANGE_PROTO_SPECIFIED))
		ret->first_port = ret->last_port = 0;
	return true;
}

enum nb_xt_effect nb_xt_target(const struct nb_packet *packet, const char *name, uint32_t revision,
			       const void *info, size_t length, struct nb_xt_change *ret)
{
	static const struct {
		const char *name;
		enum nb_xt_effect effect;
	} known[] = {
		{ "REJECT", NB_XT_DROPS },	    { "DROP", NB_XT_DROPS },
		{ "TARPIT", NB_XT_DROPS },	    { "ACCEPT", NB_XT_ACCEPTS },
		{ "SNAT", NB_XT_ACCEPTS },	    { "MASQUERADE", NB_XT_ACCEPTS },
		{ "NETMAP", NB_XT_MAY_TRANSLATE },  { "NOTRACK", NB_XT_UNTRACKS },
		{ "LOG", NB_XT_CONTINUES },	    { "NFLOG", NB_XT_CONTINUES },
		{ "TRACE", NB_XT_CONTINUES },	    { "TCPMSS", NB_XT_CONTINUES },
		{ "CLASSIFY", NB_XT_CONTINUES },    { "CHECKSUM", NB_XT_CONTINUES },
		{ "DSCP", NB_XT_CONTINUES },	    { "TOS", NB_XT_CONTINUES },
		{ "TTL", NB_XT_CONTINUES },	    { "HL", NB_XT_CONTINUES },
		{ "TEE", NB_XT_CONTINUES },	    { "SET", NB_XT_CONTINUES },
		{ "AUDIT", NB_XT_CONTINUES },	    { "SECMARK", NB_XT_CONTINUES },
		{ "CONNSECMARK", NB_XT_CONTINUES }, { "IDLETIMER", NB_XT_CONTINUES },
		{ "RATEEST", NB_XT_CONTINUES },	    { "LED", NB_XT_CONTINUES },
	};

	if (!name)
		return NB_XT_MAY_DROP;
	if (strcmp(name, "MARK") == 0)
		return info ? set_mark(revision, info, length, &ret->mark) : NB_XT_MAY_DROP;
	if (strcmp(name, "CONNMARK") == 0)
		return info ? set_connmark(packet, revision, info, length, &ret->mark)
			    : NB_XT_MAY_DROP;
	if (strcmp(name, "DNAT") == 0 || strcmp(name, "REDIRECT") == 0)
		return info && nb_xt_nat_range(info, length, &ret->range) ? NB_XT_TRANSLATES
									  : NB_XT_MAY_TRANSLATE;
	if (strcmp(name, "CT") == 0)
		return info ? set_zone(packet, info, length, ret) : NB_XT_MAY_DROP;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(name, known[i].name) == 0)
			return known[i].effect;
	return NB_XT_MAY_DROP;
}

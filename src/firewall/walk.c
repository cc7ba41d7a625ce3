/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rules of nf_tables, executed on what is known.
 *
 * An expression either says whether its rule still matches, or fills a register. Where that
 * depends on something unknown, both ways are taken: so "drops" without "accepts" is certain,
 * and what is neither is too.
 */
#include <arpa/inet.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tuple_common.h>
#include <linux/netfilter/nf_tables.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <libnftnl/expr.h>

#include "divert.h"
#include "walk.h"
#include "xtables.h"

/* Jumps: nf_tables' own limit, and what the stack bears of iptables-legacy, which has none. */
#define DEEPEST	       16
#define DEEPEST_LEGACY 512
/* Rules walked again for another mark; behind that a chain counts as one that nobody can read. */
#define MOST_AGAIN 100000

/* One rule on its way through its expressions. */
struct step {
	struct nb_walk *walk;
	const struct nb_chain *chain;
	struct nb_registers registers;
	enum nb_truth matches;
	/* what it does if it matches */
	bool ends;     /* with a verdict */
	bool may_fall; /* the verdict may also be to continue */
	int verdict;
	char target[128]; /* of a jump or a goto */
	bool may_drop;	  /* ends either way */
	bool untracks;
	struct nb_diversion diversion;
	struct nb_zone zone;
	bool marks, marks_connection;
	struct nb_mark_change mark, ct_mark;
};

static void narrow(struct step *step, enum nb_truth truth)
{
	step->matches = nb_truth_and(step->matches, truth);
}

static uint32_t get(const struct nftnl_expr *expr, uint16_t attribute)
{
	return nftnl_expr_get_u32(expr, attribute);
}

static void end(struct step *step, int verdict)
{
	step->ends = true;
	step->verdict = verdict;
}

static void divert(struct step *step, struct nb_diversion diversion)
{
	if (diversion.truth > step->diversion.truth)
		step->diversion = diversion;
}

/* --- What fills a register --- */

static void store(struct step *step, uint32_t number, const void *value, size_t length)
{
	nb_registers_store(&step->registers, number, value, NULL, length);
}

static void store_name(struct step *step, uint32_t number, const struct nb_packet_device *device)
{
	char name[NB_IFNAME_SIZE] = { 0 };

	if (!device->known) {
		nb_registers_forget(&step->registers, number, sizeof(name));
		return;
	}
	memcpy(name, device->name, sizeof(name));
	store(step, number, name, sizeof(name));
}

/* A mark becomes what the register holds. */
static struct nb_mark_change read_mark(const struct step *step, uint32_t number)
{
	struct nb_mark_change change = { .unknown = UINT32_MAX };
	int offset = nb_register_offset(number, sizeof(change.value));

	if (offset < 0)
		return change;
	memcpy(&change.value, &step->registers.value[offset], sizeof(change.value));
	memcpy(&change.mask, &step->registers.known[offset], sizeof(change.mask));
	change.unknown = ~change.mask;
	return change;
}

static void run_meta(struct step *step, const struct nftnl_expr *expr)
{
	const struct nb_packet *packet = &step->walk->packet;
	uint32_t key = get(expr, NFTNL_EXPR_META_KEY), to = get(expr, NFTNL_EXPR_META_DREG);
	const struct nb_packet_device *device = key == NFT_META_IIF ? &packet->in : &packet->out;
	uint16_t word;
	uint8_t byte;

	if (nftnl_expr_is_set(expr, NFTNL_EXPR_META_SREG)) {
		step->marks |= key == NFT_META_MARK;
		if (key == NFT_META_MARK)
			step->mark = read_mark(step, get(expr, NFTNL_EXPR_META_SREG));
		return;
	}
	switch (key) {
	case NFT_META_NFPROTO:
		byte = NFPROTO_IPV4;
		store(step, to, &byte, sizeof(byte));
		return;
	case NFT_META_PROTOCOL:
		word = htons(ETH_P_IP);
		store(step, to, &word, sizeof(word));
		return;
	case NFT_META_L4PROTO:
		byte = nb_packet_protocol(packet);
		if (byte)
			store(step, to, &byte, sizeof(byte));
		else
			nb_registers_forget(&step->registers, to, sizeof(byte));
		return;
	case NFT_META_IIFNAME:
		store_name(step, to, &packet->in);
		return;
	case NFT_META_OIFNAME:
		store_name(step, to, &packet->out);
		return;
	case NFT_META_IIF:
	case NFT_META_OIF: {
		uint32_t index = (uint32_t)device->index;

		if (index || (device->known && !device->name[0]))
			store(step, to, &index, sizeof(index));
		else
			nb_registers_forget(&step->registers, to, sizeof(index));
		return;
	}
	case NFT_META_MARK:
		nb_registers_store(&step->registers, to, &packet->mark, &packet->mark_known,
				   sizeof(packet->mark));
		return;
	default:
		nb_registers_forget(&step->registers, to, NFT_REG_SIZE);
	}
}

static void write_payload(struct step *step, const struct nftnl_expr *expr)
{
	uint32_t length = get(expr, NFTNL_EXPR_PAYLOAD_LEN);
	int offset = nb_register_offset(get(expr, NFTNL_EXPR_PAYLOAD_SREG), length);

	if (offset < 0)
		return;
	/* rules that come behind it go on with what was there: all is said, or little is known */
	divert(step, nb_divert_written(&step->walk->course, &step->walk->packet,
				       get(expr, NFTNL_EXPR_PAYLOAD_BASE),
				       get(expr, NFTNL_EXPR_PAYLOAD_OFFSET),
				       &step->registers.value[offset],
				       &step->registers.known[offset], length));
}

static void run_payload(struct step *step, const struct nftnl_expr *expr)
{
	const struct nb_packet *packet = &step->walk->packet;
	uint32_t base = get(expr, NFTNL_EXPR_PAYLOAD_BASE), to = get(expr, NFTNL_EXPR_PAYLOAD_DREG);
	uint32_t offset = get(expr, NFTNL_EXPR_PAYLOAD_OFFSET);
	uint32_t length = get(expr, NFTNL_EXPR_PAYLOAD_LEN);
	uint16_t type = htons(ETH_P_IP);

	if (nftnl_expr_is_set(expr, NFTNL_EXPR_PAYLOAD_SREG)) {
		write_payload(step, expr);
		return;
	}
	if (base == NFT_PAYLOAD_NETWORK_HEADER && length <= NB_HEADER_SIZE &&
	    offset <= NB_HEADER_SIZE - length)
		nb_registers_store(&step->registers, to, &packet->header[offset],
				   &packet->header_known[offset], length);
	else if (base == NFT_PAYLOAD_TRANSPORT_HEADER && length <= NB_PORTS_SIZE &&
		 offset <= NB_PORTS_SIZE - length)
		nb_registers_store(&step->registers, to, &packet->ports[offset],
				   &packet->ports_known[offset], length);
	else if (base == NFT_PAYLOAD_LL_HEADER && offset == 2 * ETH_ALEN && length == sizeof(type))
		store(step, to, &type, sizeof(type));
	else
		nb_registers_forget(&step->registers, to, length ? length : NFT_REG_SIZE);
}

static void set_zone(struct step *step, const struct nftnl_expr *expr)
{
	const uint8_t *bytes;
	uint16_t id = 0;

	step->zone.set = NB_YES;
	step->zone.known = true;
	if (nftnl_expr_is_set(expr, NFTNL_EXPR_CT_DIR) &&
	    nftnl_expr_get_u8(expr, NFTNL_EXPR_CT_DIR) == IP_CT_DIR_ORIGINAL)
		return;
	bytes = nb_registers_get(&step->registers, get(expr, NFTNL_EXPR_CT_SREG), sizeof(id));
	if (bytes)
		memcpy(&id, bytes, sizeof(id));
	step->zone.known = bytes;
	step->zone.id = id;
}

static void run_ct(struct step *step, const struct nftnl_expr *expr)
{
	const struct nb_packet *packet = &step->walk->packet;
	uint32_t to = get(expr, NFTNL_EXPR_CT_DREG);

	if (nftnl_expr_is_set(expr, NFTNL_EXPR_CT_SREG)) {
		if (get(expr, NFTNL_EXPR_CT_KEY) == NFT_CT_ZONE)
			set_zone(step, expr);
		if (get(expr, NFTNL_EXPR_CT_KEY) != NFT_CT_MARK || !nb_packet_is_tracked(packet))
			return;
		step->marks_connection = true;
		step->ct_mark = read_mark(step, get(expr, NFTNL_EXPR_CT_SREG));
		return;
	}
	switch (get(expr, NFTNL_EXPR_CT_KEY)) {
	case NFT_CT_MARK:
		if (!nb_packet_is_tracked(packet))
			break;
		nb_registers_store(&step->registers, to, &packet->ct_mark, &packet->ct_mark_known,
				   sizeof(packet->ct_mark));
		return;
	case NFT_CT_STATE:
		nb_registers_store(&step->registers, to, &packet->ct_state, &packet->ct_state_known,
				   sizeof(packet->ct_state));
		return;
	case NFT_CT_STATUS:
		nb_registers_store(&step->registers, to, &packet->ct_status,
				   &packet->ct_status_known, sizeof(packet->ct_status));
		return;
	case NFT_CT_DIRECTION:
		if (packet->ct_direction != NB_DIRECTION_UNKNOWN) {
			store(step, to, &packet->ct_direction, sizeof(packet->ct_direction));
			return;
		}
		break;
	case NFT_CT_PROTO_DST:
		if (packet->ct_dialled && nftnl_expr_is_set(expr, NFTNL_EXPR_CT_DIR) &&
		    nftnl_expr_get_u8(expr, NFTNL_EXPR_CT_DIR) == IP_CT_DIR_ORIGINAL) {
			uint16_t port = htons(packet->ct_dialled);

			store(step, to, &port, sizeof(port));
			return;
		}
	}
	nb_registers_forget(&step->registers, to, NFT_REG_SIZE);
}

static void run_bitwise(struct step *step, const struct nftnl_expr *expr)
{
	uint32_t from = get(expr, NFTNL_EXPR_BITWISE_SREG), to = get(expr, NFTNL_EXPR_BITWISE_DREG);
	uint32_t length = get(expr, NFTNL_EXPR_BITWISE_LEN), mask_size = 0, flip_size = 0;
	const uint8_t *mask = nftnl_expr_get(expr, NFTNL_EXPR_BITWISE_MASK, &mask_size);
	const uint8_t *flip = nftnl_expr_get(expr, NFTNL_EXPR_BITWISE_XOR, &flip_size);
	int offset = nb_register_offset(from, length);
	uint8_t value[NB_REGISTER_BYTES], known[NB_REGISTER_BYTES];

	if (offset < 0 || !mask || !flip || mask_size != length || flip_size != length ||
	    (nftnl_expr_is_set(expr, NFTNL_EXPR_BITWISE_OP) &&
	     get(expr, NFTNL_EXPR_BITWISE_OP) != NFT_BITWISE_BOOL)) {
		nb_registers_forget(&step->registers, to, length ? length : NFT_REG_SIZE);
		return;
	}
	for (uint32_t i = 0; i < length; i++) {
		value[i] = (step->registers.value[(size_t)offset + i] & mask[i]) ^ flip[i];
		known[i] = step->registers.known[(size_t)offset + i] | (uint8_t)~mask[i];
	}
	nb_registers_store(&step->registers, to, value, known, length);
}

static void run_byteorder(struct step *step, const struct nftnl_expr *expr)
{
	uint32_t from = get(expr, NFTNL_EXPR_BYTEORDER_SREG);
	uint32_t to = get(expr, NFTNL_EXPR_BYTEORDER_DREG);
	uint32_t length = get(expr, NFTNL_EXPR_BYTEORDER_LEN);
	uint32_t size = get(expr, NFTNL_EXPR_BYTEORDER_SIZE);
	const uint8_t *bytes = nb_registers_get(&step->registers, from, length);
	uint8_t turned[NB_REGISTER_BYTES];

	if (!bytes || size == 0 || length % size != 0) {
		nb_registers_forget(&step->registers, to, length ? length : NFT_REG_SIZE);
		return;
	}
	for (uint32_t i = 0; i < length; i++)
		turned[i] = htons(1) == 1 ? bytes[i] : bytes[i / size * size + size - 1 - i % size];
	store(step, to, turned, length);
}

static void run_fib(struct step *step, const struct nftnl_expr *expr)
{
	const struct nb_packet *packet = &step->walk->packet;
	uint32_t to = get(expr, NFTNL_EXPR_FIB_DREG);
	uint32_t flags = get(expr, NFTNL_EXPR_FIB_FLAGS);
	bool on_device = flags & (NFTA_FIB_F_IIF | NFTA_FIB_F_OIF);
	uint32_t type = 0;

	flags &= ~(uint32_t)(NFTA_FIB_F_IIF | NFTA_FIB_F_OIF);
	if (flags == NFTA_FIB_F_SADDR)
		type = nb_packet_source_type(packet, on_device);
	else if (flags == NFTA_FIB_F_DADDR)
		type = nb_packet_destination_type(packet, on_device);

	if (get(expr, NFTNL_EXPR_FIB_RESULT) == NFT_FIB_RESULT_ADDRTYPE && type)
		store(step, to, &type, sizeof(type));
	else
		nb_registers_forget(&step->registers, to, NFT_REG_SIZE);
}

static void run_immediate(struct step *step, const struct nftnl_expr *expr)
{
	const char *target;
	const void *data;
	uint32_t length = 0;
	int verdict;

	if (!nftnl_expr_is_set(expr, NFTNL_EXPR_IMM_VERDICT)) {
		data = nftnl_expr_get(expr, NFTNL_EXPR_IMM_DATA, &length);
		if (data)
			store(step, get(expr, NFTNL_EXPR_IMM_DREG), data, length);
		return;
	}
	verdict = (int)get(expr, NFTNL_EXPR_IMM_VERDICT);
	target = nftnl_expr_get_str(expr, NFTNL_EXPR_IMM_CHAIN);
	step->target[0] = '\0';
	if (target && strlen(target) < sizeof(step->target))
		strcpy(step->target, target);
	if (verdict != NFT_CONTINUE)
		end(step, verdict);
}

/* --- What says whether the rule matches --- */

/* Is what the register holds between these, both among them? NULL: there is no such bound. */
static enum nb_truth is_within(const struct step *step, uint32_t number, const void *from,
			       const void *to, size_t length)
{
	uint8_t low[NB_REGISTER_BYTES], high[NB_REGISTER_BYTES];

	if (nb_registers_bounds(&step->registers, number, length, low, high) < 0)
		return NB_MAYBE;
	if ((from && memcmp(high, from, length) < 0) || (to && memcmp(low, to, length) > 0))
		return NB_NO;
	return (!from || memcmp(low, from, length) >= 0) && (!to || memcmp(high, to, length) <= 0)
		       ? NB_YES
		       : NB_MAYBE;
}

static void run_cmp(struct step *step, const struct nftnl_expr *expr)
{
	uint32_t from = get(expr, NFTNL_EXPR_CMP_SREG), length = 0;
	const void *data = nftnl_expr_get(expr, NFTNL_EXPR_CMP_DATA, &length);

	if (!data) {
		narrow(step, NB_MAYBE);
		return;
	}
	switch (get(expr, NFTNL_EXPR_CMP_OP)) {
	case NFT_CMP_EQ:
		narrow(step, nb_registers_equal(&step->registers, from, data, length));
		return;
	case NFT_CMP_NEQ:
		narrow(step,
		       nb_truth_not(nb_registers_equal(&step->registers, from, data, length)));
		return;
	case NFT_CMP_LT:
		narrow(step, nb_truth_not(is_within(step, from, data, NULL, length)));
		return;
	case NFT_CMP_LTE:
		narrow(step, is_within(step, from, NULL, data, length));
		return;
	case NFT_CMP_GT:
		narrow(step, nb_truth_not(is_within(step, from, NULL, data, length)));
		return;
	default:
		narrow(step, is_within(step, from, data, NULL, length));
	}
}

static void run_range(struct step *step, const struct nftnl_expr *expr)
{
	uint32_t low_size = 0, high_size = 0;
	const void *low = nftnl_expr_get(expr, NFTNL_EXPR_RANGE_FROM_DATA, &low_size);
	const void *high = nftnl_expr_get(expr, NFTNL_EXPR_RANGE_TO_DATA, &high_size);
	enum nb_truth within = NB_MAYBE;

	if (low && high && low_size == high_size)
		within = is_within(step, get(expr, NFTNL_EXPR_RANGE_SREG), low, high, low_size);
	narrow(step,
	       get(expr, NFTNL_EXPR_RANGE_OP) == NFT_RANGE_EQ ? within : nb_truth_not(within));
}

/* What is from a register on: the key of a set, whose length the set knows. */
static void read_key(const struct nb_registers *registers, uint32_t number, struct nb_key *ret)
{
	*ret = (struct nb_key){ 0 };
	while (nb_registers_bounds(registers, number, ret->length + NFT_REG32_SIZE, ret->low,
				   ret->high) == 0)
		ret->length += NFT_REG32_SIZE;
	while (ret->known < ret->length && ret->low[ret->known] == ret->high[ret->known])
		ret->known++;
}

static void run_lookup(struct step *step, const struct nftnl_expr *expr)
{
	uint32_t from = get(expr, NFTNL_EXPR_LOOKUP_SREG), to = get(expr, NFTNL_EXPR_LOOKUP_DREG);
	bool is_map = nftnl_expr_is_set(expr, NFTNL_EXPR_LOOKUP_DREG);
	const char *set = nftnl_expr_get_str(expr, NFTNL_EXPR_LOOKUP_SET);
	struct nb_member member = { .truth = NB_MAYBE };
	struct nb_key key;

	read_key(&step->registers, from, &key);
	if (set && step->walk->look_up)
		step->walk->look_up(step->walk->data, step->chain, set, &key, &member);
	if (is_map && to == NFT_REG_VERDICT) {
		narrow(step, member.truth);
		if (member.truth != NB_YES) {
			/* any of the map's verdicts */
			step->may_drop = step->may_fall = true;
			end(step, NF_ACCEPT);
			return;
		}
		strcpy(step->target, member.chain);
		if (member.verdict != NFT_CONTINUE)
			end(step, member.verdict);
		return;
	}
	if (is_map) {
		nb_registers_forget(&step->registers, to, NFT_REG_SIZE);
		if (member.truth == NB_YES && member.data_length)
			store(step, to, member.data, member.data_length);
		narrow(step, member.truth);
		return;
	}
	if (nftnl_expr_is_set(expr, NFTNL_EXPR_LOOKUP_FLAGS) &&
	    get(expr, NFTNL_EXPR_LOOKUP_FLAGS) & NFT_LOOKUP_F_INV)
		member.truth = nb_truth_not(member.truth);
	narrow(step, member.truth);
}

static void run_match(struct step *step, const struct nftnl_expr *expr)
{
	uint32_t length = 0;
	const void *info = nftnl_expr_get(expr, NFTNL_EXPR_MT_INFO, &length);

	narrow(step, nb_xt_match(&step->walk->packet, nftnl_expr_get_str(expr, NFTNL_EXPR_MT_NAME),
				 get(expr, NFTNL_EXPR_MT_REV), info, length));
}

/* What a register of a translation holds; the one of its end may be missing. False: not known. */
static bool read_bounds(const struct step *step, const struct nftnl_expr *expr, uint16_t first,
			uint16_t last, uint32_t length, void *ret_first, void *ret_last)
{
	const uint8_t *low, *high;

	if (!nftnl_expr_is_set(expr, first))
		return true;
	low = nb_registers_get(&step->registers, get(expr, first), length);
	high = low;
	if (nftnl_expr_is_set(expr, last))
		high = nb_registers_get(&step->registers, get(expr, last), length);
	if (!low || !high)
		return false;
	memcpy(ret_first, low, length);
	memcpy(ret_last, high, length);
	return true;
}

static void run_nat(struct step *step, const struct nftnl_expr *expr)
{
	uint32_t first = 0, last = 0;
	uint16_t first_port = 0, last_port = 0;
	bool known;

	end(step, NF_ACCEPT);
	if (get(expr, NFTNL_EXPR_NAT_TYPE) != NFT_NAT_DNAT)
		return;
	known = read_bounds(step, expr, NFTNL_EXPR_NAT_REG_ADDR_MIN, NFTNL_EXPR_NAT_REG_ADDR_MAX,
			    sizeof(first), &first, &last);
	known &= read_bounds(step, expr, NFTNL_EXPR_NAT_REG_PROTO_MIN, NFTNL_EXPR_NAT_REG_PROTO_MAX,
			     sizeof(first_port), &first_port, &last_port);
	if (known)
		divert(step, nb_divert_translated(&step->walk->course, &step->walk->packet,
						  &(struct nb_nat_range){
							  .first_address = ntohl(first),
							  .last_address = ntohl(last),
							  .first_port = ntohs(first_port),
							  .last_port = ntohs(last_port),
						  }));
	else
		divert(step, (struct nb_diversion){ .truth = NB_MAYBE });
}

static void run_redir(struct step *step, const struct nftnl_expr *expr)
{
	uint16_t first = 0, last = 0;

	end(step, NF_ACCEPT);
	(void)read_bounds(step, expr, NFTNL_EXPR_REDIR_REG_PROTO_MIN,
			  NFTNL_EXPR_REDIR_REG_PROTO_MAX, sizeof(first), &first, &last);
	divert(step, nb_divert_redirected(&step->walk->course, &step->walk->packet, ntohs(first)));
}

static void may_drop(struct step *step)
{
	step->may_drop = step->may_fall = true;
	end(step, NF_ACCEPT);
}

static void run_target(struct step *step, const struct nftnl_expr *expr)
{
	uint32_t length = 0;
	const void *info = nftnl_expr_get(expr, NFTNL_EXPR_TG_INFO, &length);
	struct nb_xt_change change = { 0 };

	switch (nb_xt_target(&step->walk->packet, nftnl_expr_get_str(expr, NFTNL_EXPR_TG_NAME),
			     get(expr, NFTNL_EXPR_TG_REV), info, length, &change)) {
	case NB_XT_CONTINUES:
		return;
	case NB_XT_ACCEPTS:
		end(step, NF_ACCEPT);
		return;
	case NB_XT_DROPS:
		end(step, NF_DROP);
		return;
	case NB_XT_UNTRACKS:
		step->untracks = true;
		return;
	case NB_XT_MARKS:
		step->marks = true;
		step->mark = change.mark;
		return;
	case NB_XT_MARKS_CONNECTION:
		step->marks_connection = true;
		step->ct_mark = change.mark;
		return;
	case NB_XT_ZONES:
		step->zone.set = NB_YES;
		step->zone.known = change.zone_known;
		step->zone.id = change.zone;
		return;
	case NB_XT_TRANSLATES:
		divert(step, nb_divert_translated(&step->walk->course, &step->walk->packet,
						  &change.range));
		end(step, NF_ACCEPT);
		return;
	case NB_XT_MAY_TRANSLATE:
		divert(step, (struct nb_diversion){ .truth = NB_MAYBE });
		end(step, NF_ACCEPT);
		return;
	default:
		may_drop(step);
	}
}

static void run_object(struct step *step, const struct nftnl_expr *expr)
{
	/* which object a map gives is not known */
	if (!nftnl_expr_is_set(expr, NFTNL_EXPR_OBJREF_IMM_TYPE)) {
		may_drop(step);
		return;
	}
	switch (get(expr, NFTNL_EXPR_OBJREF_IMM_TYPE)) {
	case NFT_OBJECT_SYNPROXY:
		may_drop(step);
		return;
	case NFT_OBJECT_QUOTA:
	case NFT_OBJECT_LIMIT:
	case NFT_OBJECT_CONNLIMIT:
		narrow(step, NB_MAYBE);
	}
}

static int run_expression(struct nftnl_expr *expr, void *data)
{
	static const struct {
		const char *name;
		void (*run)(struct step *step, const struct nftnl_expr *expr);
	} known[] = {
		{ "meta", run_meta },
		{ "payload", run_payload },
		{ "ct", run_ct },
		{ "bitwise", run_bitwise },
		{ "byteorder", run_byteorder },
		{ "fib", run_fib },
		{ "immediate", run_immediate },
		{ "cmp", run_cmp },
		{ "range", run_range },
		{ "lookup", run_lookup },
		{ "nat", run_nat },
		{ "redir", run_redir },
		{ "match", run_match },
		{ "target", run_target },
		{ "objref", run_object },
	};
	/* look at a packet, count it or keep something of it: the rule goes on */
	static const char *const harmless[] = { "counter", "dup", "last", "log" };
	/* the same, and the rule may end here; registers that they fill are not known */
	static const char *const limiting[] = { "connlimit", "dynset", "exthdr", "flow_offload",
						"hash",	     "limit",  "numgen", "osf",
						"quota",     "rt",     "socket", "tunnel",
						"xfrm" };
	static const char *const accepting[] = { "masq" };
	static const char *const dropping[] = { "fwd", "reject" };
	const char *name = nftnl_expr_get_str(expr, NFTNL_EXPR_NAME);
	struct step *step = data;

	if (step->matches == NB_NO || step->ends)
		return 0;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(name, known[i].name) == 0) {
			known[i].run(step, expr);
			return 0;
		}
	for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++)
		if (strcmp(name, harmless[i]) == 0)
			return 0;
	for (size_t i = 0; i < sizeof(limiting) / sizeof(limiting[0]); i++)
		if (strcmp(name, limiting[i]) == 0) {
			memset(step->registers.known, 0, sizeof(step->registers.known));
			narrow(step, NB_MAYBE);
			return 0;
		}
	for (size_t i = 0; i < sizeof(accepting) / sizeof(accepting[0]); i++)
		if (strcmp(name, accepting[i]) == 0) {
			end(step, NF_ACCEPT);
			return 0;
		}
	for (size_t i = 0; i < sizeof(dropping) / sizeof(dropping[0]); i++)
		if (strcmp(name, dropping[i]) == 0) {
			end(step, NF_DROP);
			return 0;
		}
	if (strcmp(name, "notrack") == 0)
		step->untracks = true;
	else
		may_drop(step); /* queue, synproxy, tproxy, and what is newer than this */
	return 0;
}

/* --- Chains --- */

/*
 * What a walk through a chain gave, of the packets that came to it last. Chains of five jumps
 * each to the next double a walk fivefold a chain; remembered, each is walked once.
 */
struct visit {
	bool walked;
	/* what came in */
	struct nb_marks marks;
	bool sure, alone; /* all packets; none had ended */
	/* what came out */
	struct nb_marks marks_after;
	unsigned int ways;
	struct nb_place drop, remarked; /* no chain: none in it */
};

/* Where a walk is, going into chains and coming back. */
struct way {
	struct nb_walk *walk;
	unsigned int outcomes; /* of the base chain; not 0: some packets may have ended */
	unsigned int depth;
	struct visit *visits; /* by the place of the chain in the list; NULL: no jump yet */
	size_t again;	      /* rules of chains that were walked before */
};

static void drop_at(struct way *way, const struct nb_chain *chain, size_t position)
{
	way->outcomes |= NB_OUTCOME_DROP;
	way->walk->drop = (struct nb_place){
		.chain = chain,
		.rule = position < chain->count ? chain->rules[position] : NULL,
		.position = position,
	};
}

/* Returns the bits of which something else is known now. */
static uint32_t change_mark(uint32_t *mark, uint32_t *known, const struct nb_mark_change *change,
			    bool sure)
{
	uint32_t before = *mark, before_known = *known;

	*mark = (before & ~change->mask) | (change->value & change->mask);
	*known = (before_known | change->mask) & ~change->unknown;
	/* of packets that do not come here the mark is what it was */
	if (!sure)
		*known &= before_known & ~(before ^ *mark);
	return before_known & (~*known | (before ^ *mark));
}

static void write_mark(struct nb_walk *walk, const struct nb_mark_change *change, bool sure,
		       struct nb_place place)
{
	struct nb_packet *packet = &walk->packet;

	if (change_mark(&packet->mark, &packet->mark_known, change, sure) & walk->guarded)
		walk->remarked = place;
}

/* How packets may leave a chain without a verdict. */
enum {
	FALLS = 1 << 0,	  /* behind its last rule */
	RETURNS = 1 << 1, /* by a return, or from a chain that it went to */
};

/* @sure: every packet comes to this chain. */
static unsigned int walk_rules(struct way *way, const struct nb_chain *chain, size_t count,
			       bool sure);

/* A rule that nobody can read may do anything. */
static void take_unreadable(struct way *way, const struct nb_chain *chain, size_t position)
{
	static const struct nb_mark_change anything = { .unknown = UINT32_MAX };
	struct nb_packet *packet = &way->walk->packet;

	drop_at(way, chain, position);
	way->outcomes |= NB_OUTCOME_ACCEPT;
	write_mark(way->walk, &anything, false,
		   (struct nb_place){ chain, chain->rules[position], position });
	change_mark(&packet->ct_mark, &packet->ct_mark_known, &anything, false);
}

/*
 * The same packets again. What they do to outcomes and to is_untracked has been gathered by the
 * first time; where something happened last, and the mark, is as behind that.
 */
static unsigned int recall(struct way *way, const struct visit *visit)
{
	struct nb_walk *walk = way->walk;

	nb_packet_set_marks(&walk->packet, &visit->marks_after);
	if (visit->drop.chain)
		walk->drop = visit->drop;
	if (visit->remarked.chain)
		walk->remarked = visit->remarked;
	return visit->ways;
}

static unsigned int visit_chain(struct way *way, const struct nb_chain *target, bool sure,
				struct visit *visit)
{
	struct nb_walk *walk = way->walk;
	struct nb_place drop = walk->drop, remarked = walk->remarked;
	struct visit result = {
		.walked = true,
		.marks = nb_packet_marks(&walk->packet),
		.sure = sure,
		.alone = !way->outcomes,
	};

	if (visit->walked && memcmp(&visit->marks, &result.marks, sizeof(result.marks)) == 0 &&
	    visit->sure == sure && visit->alone == result.alone)
		return recall(way, visit);
	if (visit->walked)
		way->again += target->count + 1;
	walk->drop.chain = walk->remarked.chain = NULL;
	result.ways = walk_rules(way, target, target->count, sure);
	result.marks_after = nb_packet_marks(&walk->packet);
	result.drop = walk->drop;
	result.remarked = walk->remarked;
	if (!walk->drop.chain)
		walk->drop = drop;
	if (!walk->remarked.chain)
		walk->remarked = remarked;
	*visit = result;
	return result.ways;
}

/* Into another chain; may a packet come back from it? */
static bool take_jump(struct way *way, const struct step *step, const struct nb_chain *chain,
		      size_t position, bool sure)
{
	const struct nb_chain_list *chains = way->walk->chains;
	const struct nb_chain *target = nb_chain_find(chains, chain, step->target);
	unsigned int back;

	if (!way->visits)
		way->visits = calloc(chains->count, sizeof(*way->visits));
	if (!target || !target->loaded || !way->visits || way->again > MOST_AGAIN ||
	    way->depth >= (chain->legacy ? DEEPEST_LEGACY : DEEPEST)) {
		take_unreadable(way, chain, position);
		return true;
	}
	way->depth++;
	back = visit_chain(way, target, sure, &way->visits[target - chains->items]);
	way->depth--;
	return back != 0;
}

static void take_zone(struct nb_walk *walk, const struct nb_zone *zone, enum nb_truth truth,
		      struct nb_place place)
{
	if (walk->zone.set == NB_YES || walk->is_untracked == NB_YES)
		return;
	/* some may have another one */
	if (walk->zone.set || walk->is_untracked)
		truth = NB_MAYBE;
	walk->zone = *zone;
	walk->zone.set = truth;
	walk->zone.place = place;
	walk->zone.base = walk->base;
}

/* What matches does its part beside the verdict. */
static void take_effects(struct way *way, const struct step *step, const struct nb_chain *chain,
			 size_t position, bool sure)
{
	struct nb_place place = { chain, chain->rules[position], position };
	enum nb_truth truth = sure ? NB_YES : NB_MAYBE;

	if (step->zone.set)
		take_zone(way->walk, &step->zone, truth, place);
	/* what has a zone is left alone */
	if (step->untracks && truth > way->walk->is_untracked && way->walk->zone.set != NB_YES) {
		way->walk->is_untracked = truth;
		way->walk->untracked = place;
	}
	if (nb_truth_and(step->diversion.truth, truth) > way->walk->diversion.truth) {
		way->walk->diversion = step->diversion;
		way->walk->diversion.truth = nb_truth_and(step->diversion.truth, truth);
		way->walk->diverted = place;
	}
	if (step->marks)
		write_mark(way->walk, &step->mark, sure, place);
	if (step->marks_connection)
		change_mark(&way->walk->packet.ct_mark, &way->walk->packet.ct_mark_known,
			    &step->ct_mark, sure);
	if (step->may_drop)
		drop_at(way, chain, position);
}

static unsigned int walk_rules(struct way *way, const struct nb_chain *chain, size_t count,
			       bool sure)
{
	unsigned int ways = 0;
	bool on, certain;

	for (size_t i = 0; i < count; i++) {
		struct step step = { .walk = way->walk, .chain = chain, .matches = NB_YES };

		if (!chain->rules[i]) {
			take_unreadable(way, chain, i);
			continue;
		}
		if (way->walk->skip && way->walk->skip(chain->rules[i]))
			continue;
		nftnl_expr_foreach(chain->rules[i], run_expression, &step);
		if (step.matches == NB_NO)
			continue;
		certain = step.matches == NB_YES;
		take_effects(way, &step, chain, i, sure && certain && !way->outcomes);
		if (!step.ends)
			continue;
		on = step.may_fall;
		switch (step.verdict) {
		case NF_ACCEPT:
			way->outcomes |= NB_OUTCOME_ACCEPT;
			break;
		case NFT_RETURN:
			ways |= RETURNS;
			break;
		case NFT_JUMP:
			on = take_jump(way, &step, chain, i, sure && certain);
			break;
		case NFT_GOTO:
			if (take_jump(way, &step, chain, i, sure && certain))
				ways |= RETURNS;
			break;
		default: /* drop, queue, and what nobody knows */
			drop_at(way, chain, i);
			if (step.verdict != NF_DROP)
				way->outcomes |= NB_OUTCOME_ACCEPT;
		}
		if (!on && certain)
			return ways;
		/* some have left, perhaps to come back to the caller */
		if (step.verdict != NFT_JUMP)
			sure = false;
	}
	return ways | FALLS;
}

void nb_walk_chain(struct nb_walk *walk, const struct nb_chain *base, size_t count)
{
	struct way way = { .walk = walk };
	unsigned int ways;

	walk->base = base;
	ways = walk_rules(&way, base, count, true);
	if (ways & FALLS && count < base->count) {
		way.outcomes |= NB_OUTCOME_CONTINUE;
		ways &= ~(unsigned int)FALLS;
	}
	if (ways && base->policy_drops)
		drop_at(&way, base, base->count);
	else if (ways)
		way.outcomes |= NB_OUTCOME_ACCEPT;
	walk->outcomes = way.outcomes;
	free(way.visits);
}

enum nb_truth nb_walk_matches(struct nb_walk *walk, const struct nb_chain *chain,
			      const struct nftnl_rule *rule)
{
	struct step step = { .walk = walk, .chain = chain, .matches = NB_YES };

	/* libnftnl 1.2.4 lacks const here; it does not write */
	nftnl_expr_foreach((struct nftnl_rule *)(uintptr_t)rule, run_expression, &step);
	return step.matches;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Statements -> netlink expressions, and -> nft text.
 *
 * Registers follow what nft 1.0.6 generates and what the kernel gives back:
 * a 16-byte interface name in NFT_REG_1, the fields behind it from NFT_REG_2 on
 * (16-byte register 2 is the same memory as 4-byte register REG32_04).
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <libnftnl/expr.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tuple_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/xt_mark.h>
#include <linux/rtnetlink.h>

#include "statement.h"

#define IP_SADDR_OFFSET	    12
#define IP_DADDR_OFFSET	    16
#define TH_SPORT_OFFSET	    0
#define TH_DPORT_OFFSET	    2
#define LOOPBACK_FIRST_BYTE 127
/* in a 32-bit-register concatenation behind a 16-byte name */
#define REG_FIELD_2   NFT_REG_2
#define REG_FIELD_3   NFT_REG32_05
#define REG_FIELD_4   NFT_REG32_06
#define REG_FIELD_5   NFT_REG32_07
#define IFNAME_LENGTH 16

struct builder {
	struct nftnl_rule *rule;
	uint8_t family;
	uint32_t mark;
	uint32_t anonymous_set_id;
	bool ipv4_known; /* the rule has tested the protocol family already */
	bool failed;
};

static struct nftnl_expr *add(struct builder *b, const char *name)
{
	struct nftnl_expr *expr = nftnl_expr_alloc(name);

	if (!expr) {
		b->failed = true;
		return NULL;
	}
	nftnl_rule_add_expr(b->rule, expr);
	return expr;
}

static void meta_load(struct builder *b, uint32_t key, uint32_t reg)
{
	struct nftnl_expr *e = add(b, "meta");

	if (!e)
		return;
	nftnl_expr_set_u32(e, NFTNL_EXPR_META_KEY, key);
	nftnl_expr_set_u32(e, NFTNL_EXPR_META_DREG, reg);
}

static void meta_store(struct builder *b, uint32_t key, uint32_t reg)
{
	struct nftnl_expr *e = add(b, "meta");

	if (!e)
		return;
	nftnl_expr_set_u32(e, NFTNL_EXPR_META_KEY, key);
	nftnl_expr_set_u32(e, NFTNL_EXPR_META_SREG, reg);
}

static void compare(struct builder *b, uint32_t op, const void *data, uint32_t length)
{
	struct nftnl_expr *e = add(b, "cmp");

	if (!e)
		return;
	nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_SREG, NFT_REG_1);
	nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_OP, op);
	nftnl_expr_set(e, NFTNL_EXPR_CMP_DATA, data, length);
}

static void compare_u8(struct builder *b, uint8_t value)
{
	compare(b, NFT_CMP_EQ, &value, sizeof(value));
}

static void compare_u32(struct builder *b, uint32_t op, uint32_t value)
{
	compare(b, op, &value, sizeof(value));
}

/* reg 1 = (reg 1 & mask) ^ flip */
static void bitwise(struct builder *b, uint32_t mask, uint32_t flip)
{
	struct nftnl_expr *e = add(b, "bitwise");

	if (!e)
		return;
	nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_SREG, NFT_REG_1);
	nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_DREG, NFT_REG_1);
	nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_LEN, sizeof(mask));
	nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_OP, NFT_BITWISE_BOOL);
	nftnl_expr_set(e, NFTNL_EXPR_BITWISE_MASK, &mask, sizeof(mask));
	nftnl_expr_set(e, NFTNL_EXPR_BITWISE_XOR, &flip, sizeof(flip));
}

static void payload(struct builder *b, uint32_t base, uint32_t offset, uint32_t length,
		    uint32_t reg)
{
	struct nftnl_expr *e = add(b, "payload");

	if (!e)
		return;
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_BASE, base);
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_OFFSET, offset);
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_LEN, length);
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_DREG, reg);
}

static struct nftnl_expr *lookup(struct builder *b, const char *set, uint32_t id)
{
	struct nftnl_expr *e = add(b, "lookup");

	if (!e)
		return NULL;
	nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_SREG, NFT_REG_1);
	nftnl_expr_set_str(e, NFTNL_EXPR_LOOKUP_SET, set);
	nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_SET_ID, id);
	return e;
}

static void ct_load(struct builder *b, uint32_t key, uint32_t reg)
{
	struct nftnl_expr *e = add(b, "ct");

	if (!e)
		return;
	nftnl_expr_set_u32(e, NFTNL_EXPR_CT_KEY, key);
	nftnl_expr_set_u32(e, NFTNL_EXPR_CT_DREG, reg);
}

static void verdict(struct builder *b, int code, const char *chain)
{
	struct nftnl_expr *e = add(b, "immediate");

	if (!e)
		return;
	nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
	nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_VERDICT, (uint32_t)code);
	if (chain)
		nftnl_expr_set_str(e, NFTNL_EXPR_IMM_CHAIN, chain);
}

/* In an inet table a look at the IPv4 header needs the family tested once before. */
static void require_ipv4(struct builder *b)
{
	if (b->ipv4_known || b->family != NFPROTO_INET)
		return;
	meta_load(b, NFT_META_NFPROTO, NFT_REG_1);
	compare_u8(b, NFPROTO_IPV4);
	b->ipv4_known = true;
}

/* A /8 is one byte of the address. */
static void in_loopback(struct builder *b, uint32_t offset)
{
	require_ipv4(b);
	payload(b, NFT_PAYLOAD_NETWORK_HEADER, offset, 1, NFT_REG_1);
	compare_u8(b, LOOPBACK_FIRST_BYTE);
}

static void device_in_bridges(struct builder *b, uint32_t key)
{
	meta_load(b, key, NFT_REG_1);
	lookup(b, NB_SET_BRIDGES, NB_SET_ID_BRIDGES);
}

static void l4proto(struct builder *b, uint8_t protocol)
{
	meta_load(b, NFT_META_L4PROTO, NFT_REG_1);
	compare_u8(b, protocol);
}

static void fib(struct builder *b, uint32_t flags, uint32_t result)
{
	struct nftnl_expr *e = add(b, "fib");

	if (!e)
		return;
	nftnl_expr_set_u32(e, NFTNL_EXPR_FIB_FLAGS, flags);
	nftnl_expr_set_u32(e, NFTNL_EXPR_FIB_RESULT, result);
	nftnl_expr_set_u32(e, NFTNL_EXPR_FIB_DREG, NFT_REG_1);
}

/* bridge . protocol . port dialled . target address . target port @accepted */
static void accepted(struct builder *b, uint32_t device, uint32_t address, uint32_t port)
{
	struct nftnl_expr *e;

	require_ipv4(b);
	meta_load(b, device, NFT_REG_1);
	meta_load(b, NFT_META_L4PROTO, REG_FIELD_2);
	e = add(b, "ct");
	if (!e)
		return;
	nftnl_expr_set_u32(e, NFTNL_EXPR_CT_KEY, NFT_CT_PROTO_DST);
	nftnl_expr_set_u32(e, NFTNL_EXPR_CT_DREG, REG_FIELD_3);
	nftnl_expr_set_u8(e, NFTNL_EXPR_CT_DIR, IP_CT_DIR_ORIGINAL);
	payload(b, NFT_PAYLOAD_NETWORK_HEADER, address, 4, REG_FIELD_4);
	payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, port, 2, REG_FIELD_5);
	lookup(b, NB_SET_ACCEPTED, NB_SET_ID_ACCEPTED);
}

static void translate(struct builder *b)
{
	struct nftnl_expr *e;

	meta_load(b, NFT_META_IIFNAME, NFT_REG_1);
	meta_load(b, NFT_META_L4PROTO, REG_FIELD_2);
	payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, TH_DPORT_OFFSET, 2, REG_FIELD_3);
	e = lookup(b, NB_SET_TARGETS, NB_SET_ID_TARGETS);
	if (!e)
		return;
	nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_DREG, NFT_REG_1);
	e = add(b, "nat");
	if (!e)
		return;
	nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_TYPE, NFT_NAT_DNAT);
	nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_FAMILY, NFPROTO_IPV4);
	nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_REG_ADDR_MIN, NFT_REG_1);
	nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_REG_PROTO_MIN, NFT_REG32_01);
}

/* ct status/state: some bit of @bit is set */
static void ct_bit(struct builder *b, uint32_t key, uint32_t bit)
{
	ct_load(b, key, NFT_REG_1);
	bitwise(b, bit, 0);
	compare_u32(b, NFT_CMP_NEQ, 0);
}

/*
 * iptables -m mark. Every version of iptables-nft reads this back; older
 * ones lose a native mark match and would save an opener without it.
 */
static void marked_xt(struct builder *b)
{
	struct nftnl_expr *e = add(b, "match");
	/* freed by the expression; padded to 8 bytes as xtables wants it */
	struct xt_mark_mtinfo1 *info = calloc(1, (sizeof(*info) + 7) / 8 * 8);

	if (!e || !info) {
		free(info);
		b->failed = true;
		return;
	}
	info->mark = b->mark;
	info->mask = b->mark;
	nftnl_expr_set_str(e, NFTNL_EXPR_MT_NAME, "mark");
	nftnl_expr_set_u32(e, NFTNL_EXPR_MT_REV, 1);
	nftnl_expr_set(e, NFTNL_EXPR_MT_INFO, info, sizeof(*info));
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): the expression owns it now */
}

/*
 * iptables compares the whole address under a mask: version 1.8.4 misprints
 * the one-byte load.
 */
static void in_loopback_xt(struct builder *b)
{
	uint32_t mask = htonl(0xff000000), net = htonl(0x7f000000);

	payload(b, NFT_PAYLOAD_NETWORK_HEADER, IP_DADDR_OFFSET, 4, NFT_REG_1);
	bitwise(b, mask, 0);
	compare_u32(b, NFT_CMP_EQ, net);
}

static void build_one(struct builder *b, enum nb_statement statement)
{
	static const char lo[IFNAME_LENGTH] = "lo";
	static const uint8_t udp = IPPROTO_UDP;

	switch (statement) {
	case NB_IPV4:
		require_ipv4(b);
		break;
	case NB_DADDR_LOOPBACK:
		in_loopback(b, IP_DADDR_OFFSET);
		break;
	case NB_SADDR_LOOPBACK:
		in_loopback(b, IP_SADDR_OFFSET);
		break;
	case NB_IIF_MANAGED:
		device_in_bridges(b, NFT_META_IIFNAME);
		break;
	case NB_OIF_MANAGED:
		device_in_bridges(b, NFT_META_OIFNAME);
		break;
	case NB_IIF_NOT_LO:
		meta_load(b, NFT_META_IIFNAME, NFT_REG_1);
		compare(b, NFT_CMP_NEQ, lo, sizeof(lo));
		break;
	case NB_FIB_LOCAL:
		fib(b, NFTA_FIB_F_DADDR, NFT_FIB_RESULT_ADDRTYPE);
		compare_u32(b, NFT_CMP_EQ, RTN_LOCAL);
		break;
	case NB_FIB_SPOOFED:
		fib(b, NFTA_FIB_F_SADDR | NFTA_FIB_F_IIF | NFTA_FIB_F_PRESENT, NFT_FIB_RESULT_OIF);
		compare_u32(b, NFT_CMP_EQ, 0);
		break;
	case NB_L4_TCP:
		l4proto(b, IPPROTO_TCP);
		break;
	case NB_L4_NOT_UDP:
		meta_load(b, NFT_META_L4PROTO, NFT_REG_1);
		compare(b, NFT_CMP_NEQ, &udp, sizeof(udp));
		break;
	case NB_L4_ICMP:
		l4proto(b, IPPROTO_ICMP);
		break;
	case NB_L4_TCP_UDP:
		meta_load(b, NFT_META_L4PROTO, NFT_REG_1);
		lookup(b, "__set%d", b->anonymous_set_id);
		break;
	case NB_ACCEPTED_IN:
		accepted(b, NFT_META_IIFNAME, IP_DADDR_OFFSET, TH_DPORT_OFFSET);
		break;
	case NB_ACCEPTED_OUT:
		accepted(b, NFT_META_OIFNAME, IP_SADDR_OFFSET, TH_SPORT_OFFSET);
		break;
	case NB_CT_DNAT:
		ct_bit(b, NFT_CT_STATUS, IPS_DST_NAT);
		break;
	case NB_CT_RELATED:
		ct_bit(b, NFT_CT_STATE, NF_CT_STATE_BIT(IP_CT_RELATED));
		break;
	case NB_CT_ORIGINAL:
	case NB_CT_REPLY:
		ct_load(b, NFT_CT_DIRECTION, NFT_REG_1);
		compare_u8(b, statement == NB_CT_REPLY ? IP_CT_DIR_REPLY : IP_CT_DIR_ORIGINAL);
		break;
	case NB_MARKED:
		meta_load(b, NFT_META_MARK, NFT_REG_1);
		bitwise(b, b->mark, 0);
		compare_u32(b, NFT_CMP_EQ, b->mark);
		break;
	case NB_MARK_SET:
		meta_load(b, NFT_META_MARK, NFT_REG_1);
		bitwise(b, ~b->mark, b->mark);
		meta_store(b, NFT_META_MARK, NFT_REG_1);
		break;
	case NB_MARK_CLEAR:
		meta_load(b, NFT_META_MARK, NFT_REG_1);
		bitwise(b, ~b->mark, 0);
		meta_store(b, NFT_META_MARK, NFT_REG_1);
		break;
	case NB_MARKED_XT:
		in_loopback_xt(b);
		marked_xt(b);
		break;
	case NB_COUNTER:
		add(b, "counter");
		break;
	case NB_TRANSLATE:
		translate(b);
		break;
	case NB_JUMP_TRANSLATED:
		verdict(b, NFT_JUMP, "translated");
		break;
	case NB_JUMP_MAPPED:
		verdict(b, NFT_JUMP, "mapped");
		break;
	case NB_JUMP_ANSWERS:
		verdict(b, NFT_JUMP, "answers");
		break;
	case NB_ACCEPT:
		verdict(b, NF_ACCEPT, NULL);
		break;
	case NB_DROP:
		verdict(b, NF_DROP, NULL);
		break;
	case NB_END:
	case NB_STATEMENT_COUNT:
		break;
	}
}

int nb_statements_build(struct nftnl_rule *rule, uint8_t family, uint32_t mark,
			const enum nb_statement *statements, uint32_t anonymous_set_id)
{
	struct builder b = {
		.rule = rule,
		.family = family,
		.mark = mark,
		.anonymous_set_id = anonymous_set_id,
	};

	for (; *statements != NB_END && !b.failed; statements++)
		build_one(&b, *statements);
	return b.failed ? -ENOMEM : 0;
}

#define ACCEPTED_KEY(device, address, port) \
	device " . meta l4proto . ct original proto-dst . ip " address " . th " port " @accepted"

/* %m stands for the mark, %n for its complement. */
static const char *const texts[NB_STATEMENT_COUNT] = {
	[NB_END] = "",
	[NB_IPV4] = "meta nfproto ipv4",
	[NB_DADDR_LOOPBACK] = "ip daddr 127.0.0.0/8",
	[NB_SADDR_LOOPBACK] = "ip saddr 127.0.0.0/8",
	[NB_IIF_MANAGED] = "iifname @bridges",
	[NB_IIF_NOT_LO] = "iifname != \"lo\"",
	[NB_OIF_MANAGED] = "oifname @bridges",
	[NB_FIB_LOCAL] = "fib daddr type local",
	[NB_FIB_SPOOFED] = "fib saddr . iif oif missing",
	[NB_L4_TCP] = "meta l4proto tcp",
	[NB_L4_NOT_UDP] = "meta l4proto != udp",
	[NB_L4_ICMP] = "meta l4proto icmp",
	[NB_L4_TCP_UDP] = "meta l4proto { tcp, udp }",
	[NB_ACCEPTED_IN] = ACCEPTED_KEY("iifname", "daddr", "dport"),
	[NB_ACCEPTED_OUT] = ACCEPTED_KEY("oifname", "saddr", "sport"),
	[NB_CT_DNAT] = "ct status dnat",
	[NB_CT_RELATED] = "ct state related",
	[NB_CT_ORIGINAL] = "ct direction original",
	[NB_CT_REPLY] = "ct direction reply",
	[NB_MARKED] = "meta mark & %m == %m",
	[NB_MARK_SET] = "meta mark set meta mark | %m",
	[NB_MARK_CLEAR] = "meta mark set meta mark & %n",
	[NB_MARKED_XT] = "ip daddr 127.0.0.0/8 meta mark & %m == %m",
	[NB_COUNTER] = "counter",
	[NB_TRANSLATE] = "dnat ip to iifname . meta l4proto . th dport map @targets",
	[NB_JUMP_TRANSLATED] = "jump translated",
	[NB_JUMP_MAPPED] = "jump mapped",
	[NB_JUMP_ANSWERS] = "jump answers",
	[NB_ACCEPT] = "accept",
	[NB_DROP] = "drop",
};

void nb_statements_print(FILE *out, uint32_t mark, const enum nb_statement *statements)
{
	for (const char *space = ""; *statements != NB_END; statements++, space = " ") {
		fputs(space, out);
		for (const char *c = texts[*statements]; *c; c++) {
			if (c[0] == '%' && (c[1] == 'm' || c[1] == 'n')) {
				fprintf(out, "0x%08x", c[1] == 'm' ? mark : ~mark);
				c++;
			} else {
				fputc(*c, out);
			}
		}
	}
}

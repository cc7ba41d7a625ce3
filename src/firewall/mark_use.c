/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a rule does with marks. Of each register is known which bits of a mark it holds, and what
 * else may be set in it; so a mask, a shift, a map or a number out of a range is followed to the
 * comparison or to the mark that is written.
 */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/xt_HMARK.h>
#include <linux/netfilter/xt_TPROXY.h>
#include <linux/netfilter/xt_connmark.h>
#include <linux/netfilter/xt_mark.h>
#include <stdio.h>
#include <string.h>
#include <libnftnl/expr.h>

#include "mark_sets.h"
#include "mark_use.h"
#include "xtables.h"

/* What 32 bits of the registers hold. */
struct word {
	/* which bits of the two marks decide about it, wherever they are now */
	uint32_t mark, ct;
	/* bits in it: of a mark and where they are in that, or set by something else */
	uint32_t mark_here, ct_here, ones;
	const char *map;   /* that it comes from */
	uint32_t map_here; /* bits that do */
	uint32_t low;	   /* a bound that it was compared with */
	bool turned;	   /* into network byte order */
	enum { HOLDS_BITS, HOLDS_NFPROTO, HOLDS_ETHERTYPE } kind;
};

struct reading {
	struct nb_netlink *nl;
	const struct nb_chain *chain;
	struct nb_mark_use *use;
	struct word words[NB_REGISTER_BYTES / NFT_REG32_SIZE];
	bool ipv6;
};

static uint32_t get(const struct nftnl_expr *expr, uint16_t attribute)
{
	return nftnl_expr_get_u32(expr, attribute);
}

static size_t index_of(const struct reading *reading, uint32_t number)
{
	int offset = nb_register_offset(number, NFT_REG32_SIZE);

	return offset < 0 ? sizeof(reading->words) / sizeof(reading->words[0])
			  : (size_t)offset / NFT_REG32_SIZE;
}

/* NULL: there is no such register. */
static struct word *word_at(struct reading *reading, uint32_t number)
{
	size_t index = index_of(reading, number);

	return index < sizeof(reading->words) / sizeof(reading->words[0]) ? &reading->words[index]
									  : NULL;
}

static void load(struct reading *reading, uint32_t number, struct word word)
{
	struct word *to = word_at(reading, number);

	if (to)
		*to = word;
}

/* Bits that may be set in it, beside those of a mark that are where they were. */
static uint32_t ones_of(const struct reading *reading, const struct word *word)
{
	uint32_t ones = word->ones;

	if (word->turned)
		ones |= word->mark_here | word->ct_here;
	if (word->map && word->map_here)
		ones |= word->map_here & nb_set_value_bits(reading->nl, reading->chain, word->map);
	return ones;
}

/* --- What is written --- */

static void write_mark(struct reading *reading, const struct word *word)
{
	struct nb_mark_use *use = reading->use;
	uint32_t kept = word->turned ? 0 : word->mark_here;

	use->sets |= ones_of(reading, word);
	use->restores |= word->turned ? 0 : word->ct_here;
	if (kept)
		use->clears |= ~kept;
}

static void write_ct_mark(struct reading *reading, const struct word *word)
{
	reading->use->saves |= word->mark;
	reading->use->holds |= ones_of(reading, word);
}

/* --- What is compared --- */

/* Bits by which a comparison with these values knows a mark of which it sees these bits. */
static uint32_t known_by(uint32_t seen, uint32_t values)
{
	return seen == UINT32_MAX ? values : seen;
}

static void compare(struct reading *reading, const struct word *word, uint32_t values)
{
	if (word->mark) {
		reading->use->tests |= known_by(word->mark, values);
		reading->use->asks_all |= word->mark == UINT32_MAX;
	}
	if (word->ct)
		reading->use->holds |= known_by(word->ct, values);
}

/* --- Expressions of nf_tables --- */

static void read_meta(struct reading *reading, const struct nftnl_expr *expr)
{
	static const struct word mark = { .mark = UINT32_MAX, .mark_here = UINT32_MAX };
	uint32_t key = get(expr, NFTNL_EXPR_META_KEY);
	struct word *from;

	if (nftnl_expr_is_set(expr, NFTNL_EXPR_META_SREG)) {
		from = word_at(reading, get(expr, NFTNL_EXPR_META_SREG));
		reading->use->acts = true;
		if (key == NFT_META_MARK && from)
			write_mark(reading, from);
		return;
	}
	/* devices, processors, users: what may be of them in a mark are small numbers */
	load(reading, get(expr, NFTNL_EXPR_META_DREG),
	     key == NFT_META_MARK
		     ? mark
		     : (struct word){ .kind = key == NFT_META_NFPROTO	 ? HOLDS_NFPROTO
					      : key == NFT_META_PROTOCOL ? HOLDS_ETHERTYPE
									 : HOLDS_BITS });
}

static void read_ct(struct reading *reading, const struct nftnl_expr *expr)
{
	static const struct word mark = { .ct = UINT32_MAX, .ct_here = UINT32_MAX }, other = { 0 };
	uint32_t key = get(expr, NFTNL_EXPR_CT_KEY);
	struct word *from;

	if (nftnl_expr_is_set(expr, NFTNL_EXPR_CT_SREG)) {
		from = word_at(reading, get(expr, NFTNL_EXPR_CT_SREG));
		reading->use->acts = true;
		if (key == NFT_CT_MARK && from)
			write_ct_mark(reading, from);
		return;
	}
	load(reading, get(expr, NFTNL_EXPR_CT_DREG), key == NFT_CT_MARK ? mark : other);
}

static uint32_t shift(uint32_t bits, uint32_t op, uint32_t by)
{
	if (by >= 32)
		return 0;
	return op == NFT_BITWISE_LSHIFT ? bits << by : bits >> by;
}

static void shift_word(struct word *word, uint32_t op, uint32_t by)
{
	uint32_t back = op == NFT_BITWISE_LSHIFT ? NFT_BITWISE_RSHIFT : NFT_BITWISE_LSHIFT;
	uint32_t left = shift(shift(UINT32_MAX, op, by), back, by);

	word->mark &= left;
	word->ct &= left;
	word->ones = shift(word->mark_here | word->ct_here | word->ones | word->map_here, op, by);
	word->mark_here = word->ct_here = word->map_here = 0;
}

static void mask_word(struct word *word, uint32_t mask, uint32_t flip)
{
	uint32_t seen = word->turned ? ntohl(mask) : mask;

	word->mark &= seen;
	word->ct &= seen;
	word->mark_here &= mask;
	word->ct_here &= mask;
	word->map_here &= mask;
	word->ones = (word->ones & mask) | flip;
}

static void read_bitwise(struct reading *reading, const struct nftnl_expr *expr)
{
	uint32_t mask_size = 0, flip_size = 0, by_size = 0, mask, flip, by;
	const void *masks = nftnl_expr_get(expr, NFTNL_EXPR_BITWISE_MASK, &mask_size);
	const void *flips = nftnl_expr_get(expr, NFTNL_EXPR_BITWISE_XOR, &flip_size);
	const void *bys = nftnl_expr_get(expr, NFTNL_EXPR_BITWISE_DATA, &by_size);
	uint32_t op = nftnl_expr_is_set(expr, NFTNL_EXPR_BITWISE_OP)
			      ? get(expr, NFTNL_EXPR_BITWISE_OP)
			      : NFT_BITWISE_BOOL;
	struct word *from = word_at(reading, get(expr, NFTNL_EXPR_BITWISE_SREG));
	struct word word = from ? *from : (struct word){ 0 };

	if (op > NFT_BITWISE_RSHIFT) {
		/* of two registers (Linux 6.13), which older libnftnl does not name: both marks */
		word.mark = word.mark_here = word.ct = word.ct_here = UINT32_MAX;
	} else if (op != NFT_BITWISE_BOOL && bys && by_size == sizeof(by)) {
		memcpy(&by, bys, sizeof(by));
		shift_word(&word, op, by);
	} else if (masks && flips && mask_size == sizeof(mask) && flip_size == sizeof(flip)) {
		memcpy(&mask, masks, sizeof(mask));
		memcpy(&flip, flips, sizeof(flip));
		mask_word(&word, mask, flip);
	} else {
		word = (struct word){ 0 };
	}
	load(reading, get(expr, NFTNL_EXPR_BITWISE_DREG), word);
}

static void read_byteorder(struct reading *reading, const struct nftnl_expr *expr)
{
	struct word *from = word_at(reading, get(expr, NFTNL_EXPR_BYTEORDER_SREG));
	struct word word = from ? *from : (struct word){ 0 };

	/* shorter ones do not leave their bytes */
	if (get(expr, NFTNL_EXPR_BYTEORDER_SIZE) == sizeof(uint32_t)) {
		word.turned = !word.turned;
		word.mark_here = ntohl(word.mark_here);
		word.ct_here = ntohl(word.ct_here);
		word.map_here = ntohl(word.map_here);
		word.ones = ntohl(word.ones);
	}
	load(reading, get(expr, NFTNL_EXPR_BYTEORDER_DREG), word);
}

static void read_immediate(struct reading *reading, const struct nftnl_expr *expr)
{
	struct word word = { 0 };
	uint32_t length = 0;
	const void *data = nftnl_expr_get(expr, NFTNL_EXPR_IMM_DATA, &length);

	if (nftnl_expr_is_set(expr, NFTNL_EXPR_IMM_VERDICT)) {
		reading->use->acts |= nftnl_expr_is_set(expr, NFTNL_EXPR_IMM_CHAIN);
		return;
	}
	if (data)
		memcpy(&word.ones, data, length < sizeof(word.ones) ? length : sizeof(word.ones));
	load(reading, get(expr, NFTNL_EXPR_IMM_DREG), word);
}

/* Does the rule end here for packets of IPv4? */
static bool is_of_ipv6(const struct word *word, uint32_t op, const void *data, size_t length)
{
	uint16_t type = htons(ETH_P_IPV6);

	if (op != NFT_CMP_EQ)
		return false;
	if (word->kind == HOLDS_NFPROTO)
		return length == 1 && *(const uint8_t *)data == NFPROTO_IPV6;
	return word->kind == HOLDS_ETHERTYPE && length == sizeof(type) &&
	       memcmp(data, &type, sizeof(type)) == 0;
}

static void read_cmp(struct reading *reading, const struct nftnl_expr *expr)
{
	struct word *word = word_at(reading, get(expr, NFTNL_EXPR_CMP_SREG));
	uint32_t op = get(expr, NFTNL_EXPR_CMP_OP), length = 0, value;
	const void *data = nftnl_expr_get(expr, NFTNL_EXPR_CMP_DATA, &length);

	if (!word || !data)
		return;
	reading->ipv6 |= is_of_ipv6(word, op, data, length);
	if (length != sizeof(value))
		return;
	memcpy(&value, data, sizeof(value));
	if (word->turned)
		value = ntohl(value);
	switch (op) {
	case NFT_CMP_LT:
	case NFT_CMP_LTE:
		if (value || op == NFT_CMP_LTE)
			compare(reading, word,
				nb_range_bits(word->low, value - (op == NFT_CMP_LT)));
		return;
	case NFT_CMP_GT:
	case NFT_CMP_GTE:
		word->low = value;
	}
	compare(reading, word, value);
}

static void read_range(struct reading *reading, const struct nftnl_expr *expr)
{
	struct word *word = word_at(reading, get(expr, NFTNL_EXPR_RANGE_SREG));
	uint32_t low_size = 0, high_size = 0, low, high;
	const void *from = nftnl_expr_get(expr, NFTNL_EXPR_RANGE_FROM_DATA, &low_size);
	const void *to = nftnl_expr_get(expr, NFTNL_EXPR_RANGE_TO_DATA, &high_size);

	if (!word || !from || !to || low_size != sizeof(low) || high_size != sizeof(high))
		return;
	memcpy(&low, from, sizeof(low));
	memcpy(&high, to, sizeof(high));
	compare(reading, word,
		word->turned ? nb_range_bits(ntohl(low), ntohl(high)) : nb_range_bits(low, high));
}

/* A mark may be one of several fields of the key. */
static void read_lookup(struct reading *reading, const struct nftnl_expr *expr)
{
	const char *set = nftnl_expr_get_str(expr, NFTNL_EXPR_LOOKUP_SET);
	size_t first = index_of(reading, get(expr, NFTNL_EXPR_LOOKUP_SREG));

	for (size_t i = first; set && i < sizeof(reading->words) / sizeof(reading->words[0]); i++) {
		const struct word *word = &reading->words[i];

		if (word->mark || word->ct)
			compare(reading, word,
				nb_set_key_bits(reading->nl, reading->chain, set,
						(i - first) * NFT_REG32_SIZE, word->turned));
	}
	if (!nftnl_expr_is_set(expr, NFTNL_EXPR_LOOKUP_DREG))
		return;
	if (get(expr, NFTNL_EXPR_LOOKUP_DREG) == NFT_REG_VERDICT)
		reading->use->acts = true;
	load(reading, get(expr, NFTNL_EXPR_LOOKUP_DREG),
	     (struct word){ .map = set, .map_here = UINT32_MAX });
}

static void load_range(struct reading *reading, uint32_t number, uint32_t offset, uint32_t modulus)
{
	load(reading, number,
	     (struct word){
		     .ones = nb_range_bits(offset, modulus ? offset + modulus - 1 : UINT32_MAX) });
}

static void read_numgen(struct reading *reading, const struct nftnl_expr *expr)
{
	load_range(reading, get(expr, NFTNL_EXPR_NG_DREG), get(expr, NFTNL_EXPR_NG_OFFSET),
		   get(expr, NFTNL_EXPR_NG_MODULUS));
}

static void read_hash(struct reading *reading, const struct nftnl_expr *expr)
{
	load_range(reading, get(expr, NFTNL_EXPR_HASH_DREG), get(expr, NFTNL_EXPR_HASH_OFFSET),
		   get(expr, NFTNL_EXPR_HASH_MODULUS));
}

/* Whatever the packet has there. */
static void read_payload(struct reading *reading, const struct nftnl_expr *expr)
{
	uint32_t length = get(expr, NFTNL_EXPR_PAYLOAD_LEN);
	struct word word = { 0 };

	if (nftnl_expr_is_set(expr, NFTNL_EXPR_PAYLOAD_SREG)) {
		reading->use->acts = true;
		return;
	}
	memset(&word.ones, 0xff, length < sizeof(word.ones) ? length : sizeof(word.ones));
	load(reading, get(expr, NFTNL_EXPR_PAYLOAD_DREG), word);
}

/* --- Matches and targets of iptables --- */

static void read_match(struct reading *reading, const struct nftnl_expr *expr)
{
	const char *name = nftnl_expr_get_str(expr, NFTNL_EXPR_MT_NAME);
	uint32_t length = 0;
	const void *data = nftnl_expr_get(expr, NFTNL_EXPR_MT_INFO, &length);
	struct word word = { 0 };
	struct xt_mark_mtinfo1 mark;
	struct xt_connmark_mtinfo1 connmark;

	if (!name || !data || get(expr, NFTNL_EXPR_MT_REV) != 1)
		return;
	if (strcmp(name, "mark") == 0 && length >= sizeof(mark)) {
		memcpy(&mark, data, sizeof(mark));
		word.mark = mark.mask;
		compare(reading, &word, mark.mark);
	} else if (strcmp(name, "connmark") == 0 && length >= sizeof(connmark)) {
		memcpy(&connmark, data, sizeof(connmark));
		word.ct = connmark.mask;
		compare(reading, &word, connmark.mark);
	}
}

/* mark = (mark & ~mask) ^ value */
static void replace(struct reading *reading, uint32_t mask, uint32_t value)
{
	struct word word = { .mark_here = ~mask, .ones = value };

	write_mark(reading, &word);
}

static uint32_t shift_connmark(const struct xt_connmark_tginfo2 *info, uint32_t bits)
{
	return shift(bits,
		     info->shift_dir == D_SHIFT_RIGHT ? NFT_BITWISE_RSHIFT : NFT_BITWISE_LSHIFT,
		     info->shift_bits);
}

static void read_connmark(struct reading *reading, uint32_t revision, const void *data,
			  size_t length)
{
	struct xt_connmark_tginfo2 info;

	if (!nb_xt_connmark(revision, data, length, &info))
		return;
	switch (info.mode) {
	case XT_CONNMARK_SET:
		reading->use->holds |= info.ctmark;
		return;
	case XT_CONNMARK_SAVE:
		reading->use->saves |= info.nfmask;
		if (info.shift_bits)
			reading->use->holds |= shift_connmark(&info, info.nfmask);
		return;
	case XT_CONNMARK_RESTORE:
		replace(reading, info.nfmask, 0);
		if (info.shift_bits)
			reading->use->sets |= shift_connmark(&info, info.ctmask);
		else
			reading->use->restores |= info.ctmask;
	}
}

/* Does a target do more than to let pass, drop or tell? */
static bool is_act(const char *name)
{
	static const char *const idle[] = { "ACCEPT", "AUDIT",	"DROP",	  "LOG",
					    "NFLOG",  "REJECT", "TARPIT", "TRACE" };

	for (size_t i = 0; i < sizeof(idle) / sizeof(idle[0]); i++)
		if (strcmp(name, idle[i]) == 0)
			return false;
	return true;
}

static void read_target(struct reading *reading, const struct nftnl_expr *expr)
{
	const char *name = nftnl_expr_get_str(expr, NFTNL_EXPR_TG_NAME);
	uint32_t revision = get(expr, NFTNL_EXPR_TG_REV), length = 0;
	const void *data = nftnl_expr_get(expr, NFTNL_EXPR_TG_INFO, &length);
	struct xt_tproxy_target_info tproxy;
	struct xt_mark_tginfo2 mark;
	struct xt_hmark_info hash;

	if (!name || !data)
		return;
	reading->use->acts |= is_act(name);
	if (strcmp(name, "MARK") == 0 && revision == 2 && length >= sizeof(mark)) {
		memcpy(&mark, data, sizeof(mark));
		replace(reading, mark.mask, mark.mark);
	} else if (strcmp(name, "CONNMARK") == 0) {
		read_connmark(reading, revision, data, length);
	} else if (strcmp(name, "TPROXY") == 0 && length >= sizeof(tproxy)) {
		/* both revisions begin with the mark */
		memcpy(&tproxy, data, sizeof(tproxy));
		replace(reading, tproxy.mark_mask, tproxy.mark_value);
	} else if (strcmp(name, "HMARK") == 0 && length >= sizeof(hash)) {
		memcpy(&hash, data, sizeof(hash));
		if (hash.hmodulus)
			reading->use->sets |= nb_range_bits(hash.hoffset,
							    hash.hoffset + hash.hmodulus - 1);
	}
}

static void read_dynset(struct reading *reading, const struct nftnl_expr *expr)
{
	(void)expr;
	reading->use->acts = true;
}

static int read_expression(struct nftnl_expr *expr, void *data)
{
	static const struct {
		const char *name;
		void (*read)(struct reading *reading, const struct nftnl_expr *expr);
	} known[] = {
		{ "meta", read_meta },		 { "ct", read_ct },
		{ "bitwise", read_bitwise },	 { "byteorder", read_byteorder },
		{ "immediate", read_immediate }, { "cmp", read_cmp },
		{ "range", read_range },	 { "lookup", read_lookup },
		{ "numgen", read_numgen },	 { "hash", read_hash },
		{ "payload", read_payload },	 { "match", read_match },
		{ "target", read_target },	 { "dynset", read_dynset },
	};
	const char *name = nftnl_expr_get_str(expr, NFTNL_EXPR_NAME);
	struct reading *reading = data;

	for (size_t i = 0; !reading->ipv6 && i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(name, known[i].name) == 0) {
			known[i].read(reading, expr);
			break;
		}
	return 0;
}

void nb_mark_use_read(struct nb_netlink *nl, const struct nb_chain *chain,
		      const struct nftnl_rule *rule, struct nb_mark_use *ret)
{
	struct reading reading = { .nl = nl, .chain = chain, .use = ret };

	memset(ret, 0, sizeof(*ret));
	/* libnftnl 1.2.4 lacks const here; it does not write */
	nftnl_expr_foreach((struct nftnl_rule *)(uintptr_t)rule, read_expression, &reading);
	if (reading.ipv6)
		memset(ret, 0, sizeof(*ret));
}

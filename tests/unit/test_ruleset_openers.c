/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Openers: built for each kind of chain, found again in every encoding, and in nothing else. */
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/xt_comment.h>
#include <linux/netfilter/xt_mark.h>
#include <string.h>

#include "nat-bridge/rules.h"
#include "nft_rules.h"
#include "ruleset/opener.h"
#include "unit.h"

#define MARK	  NB_MARK_DEFAULT
#define DADDR	  16
#define SADDR	  12
#define UNTOUCHED 0x77u

/* The parts of which openers are made, and what stands near them. */
enum part {
	END,
	NFPROTO_IS_IPV4,
	NFPROTO_IS_IPV6,
	DADDR_BYTE, /* the first byte of the address: what nft and newer iptables do */
	DADDR_MASKED,
	DADDR_WRONG_MASK,
	DADDR_FLIPPED,
	DADDR_WHOLE,
	DADDR_BYTE_126,
	DADDR_BYTE_NOT,
	DADDR_TWO_BYTES,
	SADDR_BYTE,
	TRANSPORT_BYTE,
	MARK_NATIVE,
	MARK_UNMASKED,
	MARK_OTHER_MASK,
	MARK_FLIPPED,
	MARK_NOT,
	MARK_AS_ADDRESS,
	MARK_XT,
	MARK_XT_PADDED,
	MARK_XT_INVERTED,
	MARK_XT_OTHER_MASK,
	MARK_XT_REVISION,
	MARK_XT_SHORT,
	COMMENT_XT,
	COMMENT_XT_SHORT,
	COMMENT_XT_OTHER,
	COMMENT_XT_LONGER,
	COMMENT_XT_CUT,
	COMMENT_NFT,
	COMMENT_NFT_OTHER,
	COMMENT_NFT_LONGER,
	MATCH_OTHER,
	COUNTER,
	CT,
	LIMIT,
	LOOKUP,
	META_IIFNAME,
	META_SET_MARK,
	ACCEPT,
	DROP,
	RETURN,
	DATA,
};

static void add_daddr(struct nftnl_rule *rule, uint32_t length)
{
	rule_add_payload(rule, NFT_PAYLOAD_NETWORK_HEADER, DADDR, length);
}

static void add_byte(struct nftnl_rule *rule, uint8_t value)
{
	rule_add_compare(rule, NFT_CMP_EQ, &value, 1);
}

static void add_u32(struct nftnl_rule *rule, uint32_t op, uint32_t value)
{
	rule_add_compare(rule, op, &value, sizeof(value));
}

static void add_mark(struct nftnl_rule *rule, uint32_t mask, uint32_t flip, uint32_t op,
		     uint32_t value)
{
	rule_add_meta(rule, NFT_META_MARK);
	rule_add_bitwise(rule, mask, flip);
	add_u32(rule, op, value);
}

static void add_xt_mark(struct nftnl_rule *rule, struct xt_mark_mtinfo1 info, uint32_t revision,
			size_t length)
{
	char bytes[16] = { 0 };

	memcpy(bytes, &info, sizeof(info));
	rule_add_match(rule, "mark", revision, bytes, length);
}

static void add_xt_comment(struct nftnl_rule *rule, const char *text, size_t length)
{
	struct xt_comment_info info = { .comment = "" };

	strcpy(info.comment, text);
	rule_add_match(rule, "comment", 0, &info, length);
}

static void add_part(struct nftnl_rule *rule, enum part part, uint32_t mark)
{
	static const uint8_t loopback = 127;
	struct nftnl_expr *expr;

	switch (part) {
	case END:
		break;
	case NFPROTO_IS_IPV4:
	case NFPROTO_IS_IPV6:
		rule_add_meta(rule, NFT_META_NFPROTO);
		add_byte(rule, part == NFPROTO_IS_IPV4 ? NFPROTO_IPV4 : NFPROTO_IPV6);
		break;
	case DADDR_BYTE:
	case DADDR_BYTE_126:
		add_daddr(rule, 1);
		add_byte(rule, part == DADDR_BYTE ? 127 : 126);
		break;
	case DADDR_BYTE_NOT:
		add_daddr(rule, 1);
		rule_add_compare(rule, NFT_CMP_NEQ, &loopback, 1);
		break;
	case DADDR_MASKED:
	case DADDR_WRONG_MASK:
	case DADDR_FLIPPED:
		add_daddr(rule, 4);
		rule_add_bitwise(rule, htonl(part == DADDR_WRONG_MASK ? 0xffffff00 : 0xff000000),
				 part == DADDR_FLIPPED ? 1 : 0);
		add_u32(rule, NFT_CMP_EQ, htonl(0x7f000000));
		break;
	case DADDR_WHOLE:
		add_daddr(rule, 4);
		add_u32(rule, NFT_CMP_EQ, htonl(0x7f000000));
		break;
	case DADDR_TWO_BYTES:
		add_daddr(rule, 2);
		rule_add_compare(rule, NFT_CMP_EQ, "\x7f", 2);
		break;
	case SADDR_BYTE:
		rule_add_payload(rule, NFT_PAYLOAD_NETWORK_HEADER, SADDR, 1);
		add_byte(rule, 127);
		break;
	case TRANSPORT_BYTE:
		rule_add_payload(rule, NFT_PAYLOAD_TRANSPORT_HEADER, DADDR, 1);
		add_byte(rule, 127);
		break;
	case MARK_NATIVE:
		add_mark(rule, mark, 0, NFT_CMP_EQ, mark);
		break;
	case MARK_UNMASKED:
		rule_add_meta(rule, NFT_META_MARK);
		add_u32(rule, NFT_CMP_EQ, mark);
		break;
	case MARK_OTHER_MASK:
		add_mark(rule, mark | 1, 0, NFT_CMP_EQ, mark);
		break;
	case MARK_FLIPPED:
		add_mark(rule, mark, mark, NFT_CMP_EQ, mark);
		break;
	case MARK_NOT:
		add_mark(rule, mark, 0, NFT_CMP_NEQ, mark);
		break;
	case MARK_AS_ADDRESS: /* what would be 127/8 in the other field */
		add_mark(rule, htonl(0xff000000), 0, NFT_CMP_EQ, htonl(0x7f000000));
		break;
	case MARK_XT:
		add_xt_mark(rule, (struct xt_mark_mtinfo1){ mark, mark, 0 }, 1,
			    sizeof(struct xt_mark_mtinfo1));
		break;
	case MARK_XT_PADDED:
		add_xt_mark(rule, (struct xt_mark_mtinfo1){ mark, mark, 0 }, 1, 16);
		break;
	case MARK_XT_INVERTED:
		add_xt_mark(rule, (struct xt_mark_mtinfo1){ mark, mark, 1 }, 1, 16);
		break;
	case MARK_XT_OTHER_MASK:
		add_xt_mark(rule, (struct xt_mark_mtinfo1){ mark, mark | 1, 0 }, 1, 16);
		break;
	case MARK_XT_REVISION:
		add_xt_mark(rule, (struct xt_mark_mtinfo1){ mark, mark, 0 }, 2, 16);
		break;
	case MARK_XT_SHORT:
		add_xt_mark(rule, (struct xt_mark_mtinfo1){ mark, mark, 0 }, 1, 8);
		break;
	case COMMENT_XT:
		add_xt_comment(rule, NB_OPENER_COMMENT, sizeof(struct xt_comment_info));
		break;
	case COMMENT_XT_SHORT:
		add_xt_comment(rule, NB_OPENER_COMMENT, sizeof(NB_OPENER_COMMENT));
		break;
	case COMMENT_XT_OTHER:
		add_xt_comment(rule, "nat-bridgf", sizeof(struct xt_comment_info));
		break;
	case COMMENT_XT_LONGER:
		add_xt_comment(rule, NB_OPENER_COMMENT "s", sizeof(struct xt_comment_info));
		break;
	case COMMENT_XT_CUT:
		add_xt_comment(rule, NB_OPENER_COMMENT, sizeof(NB_OPENER_COMMENT) - 1);
		break;
	case COMMENT_NFT:
		rule_set_comment(rule, NB_OPENER_COMMENT);
		break;
	case COMMENT_NFT_OTHER:
		rule_set_comment(rule, "nat-bridgf");
		break;
	case COMMENT_NFT_LONGER:
		rule_set_comment(rule, NB_OPENER_COMMENT " too");
		break;
	case MATCH_OTHER:
		rule_add_match(rule, "physdev", 0, "1234567", 8);
		break;
	case COUNTER:
		rule_add(rule, "counter");
		break;
	case CT:
		expr = rule_add(rule, "ct");
		nftnl_expr_set_u32(expr, NFTNL_EXPR_CT_KEY, NFT_CT_STATE);
		nftnl_expr_set_u32(expr, NFTNL_EXPR_CT_DREG, NFT_REG_1);
		break;
	case LIMIT:
		rule_add(rule, "limit");
		break;
	case LOOKUP:
		expr = rule_add(rule, "lookup");
		nftnl_expr_set_u32(expr, NFTNL_EXPR_LOOKUP_SREG, NFT_REG_1);
		nftnl_expr_set_str(expr, NFTNL_EXPR_LOOKUP_SET, "some");
		break;
	case META_IIFNAME:
		rule_add_meta(rule, NFT_META_IIFNAME);
		rule_add_compare(rule, NFT_CMP_EQ, "eth0", 5);
		break;
	case META_SET_MARK:
		expr = rule_add(rule, "meta");
		nftnl_expr_set_u32(expr, NFTNL_EXPR_META_KEY, NFT_META_MARK);
		nftnl_expr_set_u32(expr, NFTNL_EXPR_META_SREG, NFT_REG_1);
		break;
	case ACCEPT:
		rule_add_verdict(rule, NF_ACCEPT, NULL);
		break;
	case DROP:
		rule_add_verdict(rule, NF_DROP, NULL);
		break;
	case RETURN:
		rule_add_verdict(rule, NFT_RETURN, NULL);
		break;
	case DATA:
		expr = rule_add(rule, "immediate");
		nftnl_expr_set_u32(expr, NFTNL_EXPR_IMM_DREG, NFT_REG_1);
		nftnl_expr_set(expr, NFTNL_EXPR_IMM_DATA, "\0\0\0\1", 4);
		break;
	}
}

#define MOST_PARTS 9

static bool recognise(const enum part *parts, uint32_t mark, uint32_t *ret_mark)
{
	struct nftnl_rule *rule = nftnl_rule_alloc();
	bool found;

	ck_assert_ptr_nonnull(rule);
	for (size_t i = 0; i < MOST_PARTS && parts[i] != END; i++)
		add_part(rule, parts[i], mark);
	found = nb_opener_recognise(rule, ret_mark);
	nftnl_rule_free(rule);
	return found;
}

/* Our own */

static int collect_name(struct nftnl_expr *expr, void *data)
{
	strcat(data, nftnl_expr_get_str(expr, NFTNL_EXPR_NAME));
	strcat(data, " ");
	return 0;
}

START_TEST(built_and_found)
{
	static const struct {
		uint8_t family;
		bool iptables;
		const char *expressions;
		enum nb_statement first;
	} rows[] = {
		{ NFPROTO_IPV4, false, "payload cmp meta bitwise cmp immediate ",
		  NB_DADDR_LOOPBACK },
		{ NFPROTO_INET, false, "meta cmp payload cmp meta bitwise cmp immediate ",
		  NB_IPV4 },
		/* what iptables 1.8.4 makes itself */
		{ NFPROTO_IPV4, true, "payload bitwise cmp match counter immediate ",
		  NB_MARKED_XT },
	};
	static const uint32_t marks[] = { MARK, 1, 0x80000000, 0x300, UINT32_MAX };

	for (size_t i = 0; i < COUNT(rows) * COUNT(marks); i++) {
		size_t row = i / COUNT(marks);
		uint32_t mark = marks[i % COUNT(marks)], found = UNTOUCHED;
		struct nb_input_chain chain = { .family = rows[row].family,
						.iptables = rows[row].iptables };
		struct nftnl_rule *rule = nftnl_rule_alloc();
		char names[256] = "";

		ck_assert_int_eq(nb_opener_statements(&chain)[0], rows[row].first);
		ck_assert_int_eq(nb_opener_build(rule, &chain, mark), 0);
		nftnl_expr_foreach(rule, collect_name, names);
		ck_assert_str_eq(names, rows[row].expressions);
		ck_assert(nb_opener_recognise(rule, &found));
		ck_assert_uint_eq(found, mark);

		rule = rule_dumped(rule);
		found = UNTOUCHED;
		ck_assert_msg(nb_opener_recognise(rule, &found), "row %zu", row);
		ck_assert_uint_eq(found, mark);
		nftnl_rule_free(rule);
	}
}
END_TEST

/* What others make of it */

START_TEST(other_encodings_found)
{
	static const enum part rows[][MOST_PARTS] = {
		/* iptables-save, iptables-restore: 1.8.4 and 1.8.11 */
		{ DADDR_MASKED, MARK_XT, COMMENT_XT, COUNTER, ACCEPT },
		{ DADDR_BYTE, MARK_NATIVE, COMMENT_XT, COUNTER, ACCEPT },
		{ DADDR_BYTE, MARK_XT_PADDED, COMMENT_XT, COUNTER, ACCEPT },
		{ DADDR_BYTE, COMMENT_XT_SHORT, MARK_XT, COUNTER, ACCEPT },
		/* nft list, nft -f */
		{ DADDR_BYTE, MARK_NATIVE, ACCEPT, COMMENT_NFT },
		{ NFPROTO_IS_IPV4, DADDR_BYTE, MARK_NATIVE, COUNTER, ACCEPT, COMMENT_NFT },
		{ MARK_NATIVE, DADDR_BYTE, ACCEPT, COMMENT_NFT },
		{ COUNTER, DADDR_MASKED, MARK_NATIVE, ACCEPT, COMMENT_NFT },
	};
	static const uint32_t marks[] = { MARK, 2, 0xf0 };

	for (size_t i = 0; i < COUNT(rows); i++) {
		for (size_t j = 0; j < COUNT(marks); j++) {
			uint32_t mark = UNTOUCHED;

			ck_assert_msg(recognise(rows[i], marks[j], &mark), "row %zu", i);
			ck_assert_msg(mark == marks[j], "row %zu: 0x%x", i, mark);
		}
	}
}
END_TEST

/* nft leaves out a mask of all bits; with any other mark the mask matters. */
START_TEST(full_mark_without_mask)
{
	static const enum part parts[MOST_PARTS] = { DADDR_BYTE, MARK_UNMASKED, ACCEPT,
						     COMMENT_NFT };
	uint32_t mark = UNTOUCHED;

	ck_assert(!recognise(parts, MARK, &mark));
	ck_assert_uint_eq(mark, UNTOUCHED);
	ck_assert(recognise(parts, UINT32_MAX, &mark));
	ck_assert_uint_eq(mark, UINT32_MAX);
}
END_TEST

START_TEST(others_rules_left_alone)
{
	static const enum part rows[][MOST_PARTS] = {
		{ END },
		{ ACCEPT },
		{ COMMENT_NFT },
		{ COMMENT_NFT, ACCEPT },
		{ COMMENT_XT, ACCEPT },
		/* no comment, or another one */
		{ DADDR_BYTE, MARK_NATIVE, ACCEPT },
		{ DADDR_BYTE, MARK_NATIVE, ACCEPT, COMMENT_NFT_OTHER },
		{ DADDR_BYTE, MARK_NATIVE, ACCEPT, COMMENT_NFT_LONGER },
		{ DADDR_MASKED, MARK_XT, COUNTER, ACCEPT },
		{ DADDR_MASKED, MARK_XT, COMMENT_XT_OTHER, COUNTER, ACCEPT },
		{ DADDR_MASKED, MARK_XT, COMMENT_XT_LONGER, COUNTER, ACCEPT },
		{ DADDR_MASKED, MARK_XT, COMMENT_XT_CUT, COUNTER, ACCEPT },
		/* another verdict, or none */
		{ DADDR_BYTE, MARK_NATIVE, COMMENT_NFT },
		{ DADDR_BYTE, MARK_NATIVE, DROP, COMMENT_NFT },
		{ DADDR_BYTE, MARK_NATIVE, RETURN, COMMENT_NFT },
		{ DADDR_BYTE, MARK_NATIVE, DATA, COMMENT_NFT },
		{ DADDR_MASKED, MARK_XT, COMMENT_XT, COUNTER, DROP },
		/* half of it */
		{ DADDR_BYTE, ACCEPT, COMMENT_NFT },
		{ DADDR_MASKED, COMMENT_XT, COUNTER, ACCEPT },
		{ MARK_NATIVE, ACCEPT, COMMENT_NFT },
		{ MARK_XT, COMMENT_XT, COUNTER, ACCEPT },
		/* one more condition or action */
		{ DADDR_BYTE, MARK_NATIVE, CT, ACCEPT, COMMENT_NFT },
		{ CT, DADDR_BYTE, MARK_NATIVE, ACCEPT, COMMENT_NFT },
		{ DADDR_BYTE, MARK_NATIVE, LIMIT, ACCEPT, COMMENT_NFT },
		{ DADDR_BYTE, MARK_NATIVE, LOOKUP, ACCEPT, COMMENT_NFT },
		{ DADDR_BYTE, MARK_NATIVE, META_IIFNAME, ACCEPT, COMMENT_NFT },
		{ DADDR_BYTE, MARK_NATIVE, META_SET_MARK, ACCEPT, COMMENT_NFT },
		{ DADDR_BYTE, MARK_NATIVE, SADDR_BYTE, ACCEPT, COMMENT_NFT },
		{ NFPROTO_IS_IPV6, DADDR_BYTE, MARK_NATIVE, ACCEPT, COMMENT_NFT },
		{ DADDR_MASKED, MARK_XT, MATCH_OTHER, COMMENT_XT, COUNTER, ACCEPT },
		/* another address */
		{ SADDR_BYTE, MARK_NATIVE, ACCEPT, COMMENT_NFT },
		{ TRANSPORT_BYTE, MARK_NATIVE, ACCEPT, COMMENT_NFT },
		{ DADDR_BYTE_126, MARK_NATIVE, ACCEPT, COMMENT_NFT },
		{ DADDR_BYTE_NOT, MARK_NATIVE, ACCEPT, COMMENT_NFT },
		{ DADDR_TWO_BYTES, MARK_NATIVE, ACCEPT, COMMENT_NFT },
		{ DADDR_WHOLE, MARK_NATIVE, ACCEPT, COMMENT_NFT },
		{ DADDR_WRONG_MASK, MARK_NATIVE, ACCEPT, COMMENT_NFT },
		{ DADDR_FLIPPED, MARK_NATIVE, ACCEPT, COMMENT_NFT },
		{ MARK_AS_ADDRESS, MARK_NATIVE, ACCEPT, COMMENT_NFT },
		/* another test of the mark */
		{ DADDR_BYTE, MARK_OTHER_MASK, ACCEPT, COMMENT_NFT },
		{ DADDR_BYTE, MARK_FLIPPED, ACCEPT, COMMENT_NFT },
		{ DADDR_BYTE, MARK_NOT, ACCEPT, COMMENT_NFT },
		{ DADDR_MASKED, MARK_XT_INVERTED, COMMENT_XT, COUNTER, ACCEPT },
		{ DADDR_MASKED, MARK_XT_OTHER_MASK, COMMENT_XT, COUNTER, ACCEPT },
		{ DADDR_MASKED, MARK_XT_REVISION, COMMENT_XT, COUNTER, ACCEPT },
		{ DADDR_MASKED, MARK_XT_SHORT, COMMENT_XT, COUNTER, ACCEPT },
		{ DADDR_MASKED, MARK_XT_INVERTED, MARK_XT, COMMENT_XT, COUNTER, ACCEPT },
	};
	uint32_t mark = UNTOUCHED;

	for (size_t i = 0; i < COUNT(rows); i++)
		ck_assert_msg(!recognise(rows[i], MARK, &mark), "row %zu", i);
	ck_assert_uint_eq(mark, UNTOUCHED);
}
END_TEST

/* Userdata of any other shape is no comment of ours. */
START_TEST(hostile_userdata)
{
	static const struct {
		const char *bytes;
		uint32_t length;
	} rows[] = {
		{ "\0\xffnat-bridge", 13 },
		{ "\0\x0anat-bridge", 12 },
		{ "\1\x0bnat-bridge", 13 },
		{ "\0\0", 2 },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct nftnl_rule *rule = nftnl_rule_alloc();
		uint32_t mark = UNTOUCHED;

		add_part(rule, DADDR_BYTE, MARK);
		add_part(rule, MARK_NATIVE, MARK);
		add_part(rule, ACCEPT, MARK);
		nftnl_rule_set_data(rule, NFTNL_RULE_USERDATA, rows[i].bytes, rows[i].length);
		ck_assert_msg(!nb_opener_recognise(rule, &mark), "row %zu", i);
		nftnl_rule_free(rule);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ruleset openers");

	unit_add(suite, "built_and_found", built_and_found);
	unit_add(suite, "other_encodings_found", other_encodings_found);
	unit_add(suite, "full_mark_without_mask", full_mark_without_mask);
	unit_add(suite, "others_rules_left_alone", others_rules_left_alone);
	unit_add(suite, "hostile_userdata", hostile_userdata);
	return unit_run(suite);
}

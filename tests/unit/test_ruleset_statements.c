/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Statements: each has a text of its own, and the mark is the one that is given. */
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <stdio.h>
#include <string.h>
#include <libnftnl/expr.h>

#include "nat-bridge/rules.h"
#include "ruleset/schema.h"
#include "ruleset/statement.h"
#include "unit.h"

/* The caller frees it. */
static char *print(uint32_t mark, const enum nb_statement *statements)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	ck_assert_ptr_nonnull(out);
	nb_statements_print(out, mark, statements);
	fclose(out);
	return text;
}

START_TEST(any_mark)
{
	static const struct {
		uint32_t mark;
		enum nb_statement statements[3];
		const char *text;
	} rows[] = {
		{ 0x1, { NB_MARKED }, "meta mark & 0x00000001 == 0x00000001" },
		{ 0x1, { NB_MARK_CLEAR }, "meta mark set meta mark & 0xfffffffe" },
		{ 0x80000000,
		  { NB_MARK_SET, NB_ACCEPT },
		  "meta mark set meta mark | 0x80000000 accept" },
		{ UINT32_MAX, { NB_MARKED }, "meta mark & 0xffffffff == 0xffffffff" },
		{ UINT32_MAX, { NB_MARK_CLEAR }, "meta mark set meta mark & 0x00000000" },
		{ 0x300,
		  { NB_MARKED_XT, NB_COUNTER },
		  "ip daddr 127.0.0.0/8 meta mark & 0x00000300 == 0x00000300 counter" },
		{ 0x300, { NB_END }, "" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		char *text = print(rows[i].mark, rows[i].statements);

		ck_assert_str_eq(text, rows[i].text);
		free(text);
	}
}
END_TEST

/* The expressions of one statement as libnftnl shows them, in @buffer. */
static void show(enum nb_statement statement, uint8_t family, uint32_t mark, char *buffer,
		 size_t size)
{
	enum nb_statement statements[] = { statement, NB_END };
	struct nftnl_rule *rule = nftnl_rule_alloc();

	ck_assert_ptr_nonnull(rule);
	ck_assert_int_eq(nb_statements_build(rule, family, mark, statements, 4), 0);
	nftnl_rule_snprintf(buffer, size, rule, NFTNL_OUTPUT_DEFAULT, 0);
	nftnl_rule_free(rule);
}

START_TEST(each_has_its_own)
{
	char *texts[NB_STATEMENT_COUNT] = { NULL };
	char shown[NB_STATEMENT_COUNT][1024];

	for (unsigned int i = NB_END + 1; i < NB_STATEMENT_COUNT; i++) {
		enum nb_statement one[] = { (enum nb_statement)i, NB_END };

		texts[i] = print(NB_MARK_DEFAULT, one);
		ck_assert_msg(texts[i][0] != '\0', "statement %u", i);
		show(one[0], NFPROTO_INET, NB_MARK_DEFAULT, shown[i], sizeof(shown[i]));
		for (unsigned int j = NB_END + 1; j < i; j++) {
			ck_assert_str_ne(texts[i], texts[j]);
			ck_assert_msg(strcmp(shown[i], shown[j]) != 0, "%u and %u: %s", i, j,
				      shown[i]);
		}
		ck_assert_int_eq(nb_schema_rule_has_set(one), strchr(texts[i], '{') != NULL);
	}
	for (unsigned int i = 0; i < NB_STATEMENT_COUNT; i++)
		free(texts[i]);
}
END_TEST

/* Those and only those statements whose text names the mark depend on it. */
START_TEST(mark_in_text_and_expressions)
{
	for (unsigned int i = NB_END + 1; i < NB_STATEMENT_COUNT; i++) {
		enum nb_statement one[] = { (enum nb_statement)i, NB_END };
		char *a = print(0x40, one), *b = print(0x80, one);
		char shown_a[1024], shown_b[1024];

		/* the data of an xt match is not shown; test_ruleset_openers reads it back */
		if (i != NB_MARKED_XT) {
			show(one[0], NFPROTO_INET, 0x40, shown_a, sizeof(shown_a));
			show(one[0], NFPROTO_INET, 0x80, shown_b, sizeof(shown_b));
			ck_assert_msg(!strcmp(a, b) == !strcmp(shown_a, shown_b), "%s", a);
		}
		free(a);
		free(b);
	}
}
END_TEST

static int count(struct nftnl_expr *expr, void *data)
{
	(void)expr;
	++*(unsigned int *)data;
	return 0;
}

/* In an inet table the family is tested before the header is read, but once. */
START_TEST(family_tested_once)
{
	static const struct {
		uint8_t family;
		enum nb_statement statements[4];
		unsigned int expressions;
	} rows[] = {
		{ NFPROTO_IPV4, { NB_DADDR_LOOPBACK }, 2 },
		{ NFPROTO_INET, { NB_DADDR_LOOPBACK }, 4 },
		{ NFPROTO_INET, { NB_IPV4, NB_DADDR_LOOPBACK }, 4 },
		{ NFPROTO_INET, { NB_DADDR_LOOPBACK, NB_SADDR_LOOPBACK }, 6 },
		{ NFPROTO_INET, { NB_L4_TCP_UDP, NB_ACCEPTED_IN }, 2 + 2 + 6 },
		{ NFPROTO_INET, { NB_COUNTER, NB_DROP }, 2 },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct nftnl_rule *rule = nftnl_rule_alloc();
		unsigned int expressions = 0;

		ck_assert_int_eq(
			nb_statements_build(rule, rows[i].family, 1, rows[i].statements, 4), 0);
		nftnl_expr_foreach(rule, count, &expressions);
		ck_assert_msg(expressions == rows[i].expressions, "row %zu: %u", i, expressions);
		nftnl_rule_free(rule);
	}
}
END_TEST

/* Data of a cmp or a bitwise in hex, as the bytes stand. */
static void hex(const struct nftnl_expr *expr, uint16_t attr, FILE *out)
{
	uint32_t length = 0;
	const uint8_t *data = nftnl_expr_get(expr, attr, &length);

	for (uint32_t i = 0; i < length; i++)
		fprintf(out, "%02x", data[i]);
}

/* "key>register" loads, "key<register" stores. */
static void tell_meta(const struct nftnl_expr *e, FILE *out)
{
	bool loads = nftnl_expr_is_set(e, NFTNL_EXPR_META_DREG);

	fprintf(out, "%u%c%u", nftnl_expr_get_u32(e, NFTNL_EXPR_META_KEY), loads ? '>' : '<',
		nftnl_expr_get_u32(e, loads ? NFTNL_EXPR_META_DREG : NFTNL_EXPR_META_SREG));
}

static void tell_ct(const struct nftnl_expr *e, FILE *out)
{
	fprintf(out, "%u", nftnl_expr_get_u32(e, NFTNL_EXPR_CT_KEY));
	if (nftnl_expr_is_set(e, NFTNL_EXPR_CT_DIR))
		fprintf(out, "/%u", nftnl_expr_get_u8(e, NFTNL_EXPR_CT_DIR));
	fprintf(out, ">%u", nftnl_expr_get_u32(e, NFTNL_EXPR_CT_DREG));
}

static void tell_cmp(const struct nftnl_expr *e, FILE *out)
{
	ck_assert_uint_eq(nftnl_expr_get_u32(e, NFTNL_EXPR_CMP_SREG), NFT_REG_1);
	fputs(nftnl_expr_get_u32(e, NFTNL_EXPR_CMP_OP) == NFT_CMP_EQ ? "=" : "!", out);
	hex(e, NFTNL_EXPR_CMP_DATA, out);
}

static void tell_bitwise(const struct nftnl_expr *e, FILE *out)
{
	ck_assert_uint_eq(nftnl_expr_get_u32(e, NFTNL_EXPR_BITWISE_SREG), NFT_REG_1);
	ck_assert_uint_eq(nftnl_expr_get_u32(e, NFTNL_EXPR_BITWISE_DREG), NFT_REG_1);
	fputc('&', out);
	hex(e, NFTNL_EXPR_BITWISE_MASK, out);
	fputc('^', out);
	hex(e, NFTNL_EXPR_BITWISE_XOR, out);
}

static void tell_payload(const struct nftnl_expr *e, FILE *out)
{
	fprintf(out, "%u+%u,%u>%u", nftnl_expr_get_u32(e, NFTNL_EXPR_PAYLOAD_BASE),
		nftnl_expr_get_u32(e, NFTNL_EXPR_PAYLOAD_OFFSET),
		nftnl_expr_get_u32(e, NFTNL_EXPR_PAYLOAD_LEN),
		nftnl_expr_get_u32(e, NFTNL_EXPR_PAYLOAD_DREG));
}

static void tell_lookup(const struct nftnl_expr *e, FILE *out)
{
	fprintf(out, "%s%s#%u", nftnl_expr_is_set(e, NFTNL_EXPR_LOOKUP_FLAGS) ? "!" : "",
		nftnl_expr_get_str(e, NFTNL_EXPR_LOOKUP_SET),
		nftnl_expr_get_u32(e, NFTNL_EXPR_LOOKUP_SET_ID));
	ck_assert_uint_eq(nftnl_expr_get_u32(e, NFTNL_EXPR_LOOKUP_SREG), NFT_REG_1);
	if (nftnl_expr_is_set(e, NFTNL_EXPR_LOOKUP_DREG))
		fprintf(out, ">%u", nftnl_expr_get_u32(e, NFTNL_EXPR_LOOKUP_DREG));
}

static void tell_fib(const struct nftnl_expr *e, FILE *out)
{
	fprintf(out, "%u:%u>%u", nftnl_expr_get_u32(e, NFTNL_EXPR_FIB_FLAGS),
		nftnl_expr_get_u32(e, NFTNL_EXPR_FIB_RESULT),
		nftnl_expr_get_u32(e, NFTNL_EXPR_FIB_DREG));
}

static void tell_nat(const struct nftnl_expr *e, FILE *out)
{
	fprintf(out, "%u:%u %u:%u", nftnl_expr_get_u32(e, NFTNL_EXPR_NAT_TYPE),
		nftnl_expr_get_u32(e, NFTNL_EXPR_NAT_FAMILY),
		nftnl_expr_get_u32(e, NFTNL_EXPR_NAT_REG_ADDR_MIN),
		nftnl_expr_get_u32(e, NFTNL_EXPR_NAT_REG_PROTO_MIN));
}

static void tell_immediate(const struct nftnl_expr *e, FILE *out)
{
	ck_assert_uint_eq(nftnl_expr_get_u32(e, NFTNL_EXPR_IMM_DREG), NFT_REG_VERDICT);
	fprintf(out, "%d", (int)nftnl_expr_get_u32(e, NFTNL_EXPR_IMM_VERDICT));
	if (nftnl_expr_is_set(e, NFTNL_EXPR_IMM_CHAIN))
		fprintf(out, ":%s", nftnl_expr_get_str(e, NFTNL_EXPR_IMM_CHAIN));
}

static int tell(struct nftnl_expr *expr, void *data)
{
	static const struct {
		const char *name;
		void (*tell)(const struct nftnl_expr *, FILE *);
	} rows[] = {
		{ "meta", tell_meta },
		{ "ct", tell_ct },
		{ "cmp", tell_cmp },
		{ "bitwise", tell_bitwise },
		{ "payload", tell_payload },
		{ "lookup", tell_lookup },
		{ "fib", tell_fib },
		{ "nat", tell_nat },
		{ "immediate", tell_immediate },
	};
	const char *name = nftnl_expr_get_str(expr, NFTNL_EXPR_NAME);
	FILE *out = data;

	fprintf(out, "%s ", name);
	for (size_t i = 0; i < COUNT(rows); i++)
		if (!strcmp(rows[i].name, name))
			rows[i].tell(expr, out);
	fputs("; ", out);
	return 0;
}

#define ACCEPTED(device, address, port)                                          \
	"meta " device ">1; meta 16>2; ct 12/0>13; payload 1+" address ",4>14; " \
	"payload 2+" port ",2>15; lookup accepted#3; "

/* What goes over the wire, number by number; a mark of 0x01020304 shows byte order. */
START_TEST(expressions_in_full)
{
	static const char *const texts[NB_STATEMENT_COUNT] = {
		[NB_IPV4] = "",
		[NB_DADDR_LOOPBACK] = "payload 1+16,1>1; cmp =7f; ",
		[NB_SADDR_LOOPBACK] = "payload 1+12,1>1; cmp =7f; ",
		[NB_IIF_MANAGED] = "meta 6>1; lookup bridges#1; ",
		[NB_IIF_NOT_LO] = "meta 6>1; cmp !6c6f0000000000000000000000000000; ",
		[NB_OIF_MANAGED] = "meta 7>1; lookup bridges#1; ",
		[NB_FIB_LOCAL] = "fib 2:3>1; cmp =02000000; ",
		[NB_FIB_SPOOFED] = "fib 41:1>1; cmp =00000000; ",
		[NB_L4_TCP] = "meta 16>1; cmp =06; ",
		[NB_L4_NOT_UDP] = "meta 16>1; cmp !11; ",
		[NB_L4_ICMP] = "meta 16>1; cmp =01; ",
		[NB_L4_TCP_UDP] = "meta 16>1; lookup __set%d#9; ",
		[NB_ACCEPTED_IN] = ACCEPTED("6", "16", "2"),
		[NB_ACCEPTED_OUT] = ACCEPTED("7", "12", "0"),
		[NB_CT_DNAT] = "ct 2>1; bitwise &20000000^00000000; cmp !00000000; ",
		[NB_CT_RELATED] = "ct 0>1; bitwise &04000000^00000000; cmp !00000000; ",
		[NB_CT_ORIGINAL] = "ct 1>1; cmp =00; ",
		[NB_CT_REPLY] = "ct 1>1; cmp =01; ",
		[NB_MARKED] = "meta 3>1; bitwise &04030201^00000000; cmp =04030201; ",
		[NB_MARK_SET] = "meta 3>1; bitwise &fbfcfdfe^04030201; meta 3<1; ",
		[NB_MARK_CLEAR] = "meta 3>1; bitwise &fbfcfdfe^00000000; meta 3<1; ",
		[NB_MARKED_XT] = "payload 1+16,4>1; bitwise &ff000000^00000000; cmp =7f000000; "
				 "match ; ",
		[NB_COUNTER] = "counter ; ",
		[NB_TRANSLATE] = "meta 6>1; meta 16>2; payload 2+2,2>13; lookup targets#2>1; "
				 "nat 1:2 1:9; ",
		[NB_JUMP_TRANSLATED] = "immediate -3:translated; ",
		[NB_JUMP_MAPPED] = "immediate -3:mapped; ",
		[NB_JUMP_ANSWERS] = "immediate -3:answers; ",
		[NB_ACCEPT] = "immediate 1; ",
		[NB_DROP] = "immediate 0; ",
	};

	/* the mark is in the host's byte order; the expectations are of a little-endian one */
	if (htonl(1) == 1)
		return;
	for (unsigned int i = NB_END + 1; i < NB_STATEMENT_COUNT; i++) {
		enum nb_statement statements[] = { (enum nb_statement)i, NB_END };
		struct nftnl_rule *rule = nftnl_rule_alloc();
		char *told = NULL;
		size_t size;
		FILE *out = open_memstream(&told, &size);

		ck_assert_int_eq(nb_statements_build(rule, NFPROTO_IPV4, 0x01020304, statements, 9),
				 0);
		nftnl_expr_foreach(rule, tell, out);
		fclose(out);
		ck_assert_str_eq(told, texts[i]);
		free(told);
		nftnl_rule_free(rule);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ruleset statements");

	unit_add(suite, "any_mark", any_mark);
	unit_add(suite, "each_has_its_own", each_has_its_own);
	unit_add(suite, "mark_in_text_and_expressions", mark_in_text_and_expressions);
	unit_add(suite, "family_tested_once", family_tested_once);
	unit_add(suite, "expressions_in_full", expressions_in_full);
	return unit_run(suite);
}

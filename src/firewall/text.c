/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A rule of somebody's in words: what each expression loads, and what is asked of that. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tuple_common.h>
#include <linux/netfilter/nf_tables.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <libnftnl/expr.h>

#include "../model/text.h"
#include "nat-bridge/link.h"
#include "text.h"

/* How a value is written. */
enum kind {
	KIND_NONE,
	KIND_NAME,
	KIND_NUMBER, /* in host byte order */
	KIND_HEX,
	KIND_ADDRESS,
	KIND_PORT,
	KIND_PROTOCOL,
	KIND_STATE,
	KIND_STATUS,
	KIND_TYPE, /* of an address */
};

struct writer {
	char *buffer;
	size_t size, used;
	/* what the register holds */
	const char *field;
	enum kind kind;
	size_t length;
	uint32_t mask; /* in network byte order for an address */
	bool masked;
	/* what was put into a register, to be written somewhere */
	const void *value;
	uint32_t value_length;
	bool turned; /* into network byte order, what is in the host's else */
};

static __attribute__((format(printf, 2, 3))) void put(struct writer *writer, const char *format,
						      ...)
{
	size_t left = writer->size - writer->used;
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(writer->buffer + writer->used, left, format, arguments);
	va_end(arguments);
	if (length > 0)
		writer->used += (size_t)length < left ? (size_t)length : left - 1;
}

static void load(struct writer *writer, const char *field, enum kind kind)
{
	writer->field = field;
	writer->kind = kind;
	writer->masked = false;
	writer->value = NULL;
	writer->turned = false;
}

static uint32_t get(const struct nftnl_expr *expr, uint16_t attribute)
{
	return nftnl_expr_get_u32(expr, attribute);
}

static void write_meta(struct writer *writer, const struct nftnl_expr *expr)
{
	static const struct {
		const char *field;
		uint32_t key;
		enum kind kind;
	} keys[] = {
		{ "iifname", NFT_META_IIFNAME, KIND_NAME },
		{ "oifname", NFT_META_OIFNAME, KIND_NAME },
		{ "iif", NFT_META_IIF, KIND_NUMBER },
		{ "oif", NFT_META_OIF, KIND_NUMBER },
		{ "meta mark", NFT_META_MARK, KIND_HEX },
		{ "meta l4proto", NFT_META_L4PROTO, KIND_PROTOCOL },
		{ "meta skuid", NFT_META_SKUID, KIND_NUMBER },
		{ "meta skgid", NFT_META_SKGID, KIND_NUMBER },
		{ NULL, NFT_META_NFPROTO, KIND_NONE },
		{ NULL, NFT_META_PROTOCOL, KIND_NONE },
	};
	uint32_t key = get(expr, NFTNL_EXPR_META_KEY);

	if (nftnl_expr_is_set(expr, NFTNL_EXPR_META_SREG)) {
		put(writer, key == NFT_META_MARK ? "meta mark set ... " : "meta set ... ");
		return;
	}
	load(writer, "[meta]", KIND_HEX);
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (keys[i].key == key)
			load(writer, keys[i].field, keys[i].kind);
}

static void write_value(struct writer *writer, const void *data, size_t length);

static void write_payload(struct writer *writer, const struct nftnl_expr *expr)
{
	static const struct {
		uint32_t base, offset;
		const char *field;
		enum kind kind;
	} places[] = {
		{ NFT_PAYLOAD_NETWORK_HEADER, 12, "ip saddr", KIND_ADDRESS },
		{ NFT_PAYLOAD_NETWORK_HEADER, 16, "ip daddr", KIND_ADDRESS },
		{ NFT_PAYLOAD_NETWORK_HEADER, 9, "ip protocol", KIND_PROTOCOL },
		{ NFT_PAYLOAD_TRANSPORT_HEADER, 0, "th sport", KIND_PORT },
		{ NFT_PAYLOAD_TRANSPORT_HEADER, 2, "th dport", KIND_PORT },
	};

	const void *value = writer->value;

	load(writer, "[payload]", KIND_HEX);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (places[i].base == get(expr, NFTNL_EXPR_PAYLOAD_BASE) &&
		    places[i].offset == get(expr, NFTNL_EXPR_PAYLOAD_OFFSET))
			load(writer, places[i].field, places[i].kind);
	if (!nftnl_expr_is_set(expr, NFTNL_EXPR_PAYLOAD_SREG))
		return;
	put(writer, "%s set ", writer->field);
	if (value)
		write_value(writer, value, writer->value_length);
	put(writer, value ? " " : "... ");
	load(writer, NULL, KIND_NONE);
}

static void write_ct_set(struct writer *writer, const struct nftnl_expr *expr)
{
	const char *way = "";
	uint16_t zone;

	if (nftnl_expr_is_set(expr, NFTNL_EXPR_CT_DIR))
		way = nftnl_expr_get_u8(expr, NFTNL_EXPR_CT_DIR) == IP_CT_DIR_ORIGINAL ? "original "
										       : "reply ";
	if (get(expr, NFTNL_EXPR_CT_KEY) == NFT_CT_ZONE && writer->value &&
	    writer->value_length == sizeof(zone)) {
		memcpy(&zone, writer->value, sizeof(zone));
		put(writer, "ct %szone set %u ", way, zone);
	} else {
		put(writer, "ct %s%sset ... ", way,
		    get(expr, NFTNL_EXPR_CT_KEY) == NFT_CT_ZONE	  ? "zone "
		    : get(expr, NFTNL_EXPR_CT_KEY) == NFT_CT_MARK ? "mark "
								  : "");
	}
}

static void write_ct(struct writer *writer, const struct nftnl_expr *expr)
{
	if (nftnl_expr_is_set(expr, NFTNL_EXPR_CT_SREG)) {
		write_ct_set(writer, expr);
		return;
	}
	switch (get(expr, NFTNL_EXPR_CT_KEY)) {
	case NFT_CT_STATE:
		load(writer, "ct state", KIND_STATE);
		return;
	case NFT_CT_STATUS:
		load(writer, "ct status", KIND_STATUS);
		return;
	case NFT_CT_MARK:
		load(writer, "ct mark", KIND_HEX);
		return;
	default:
		load(writer, "[ct]", KIND_HEX);
	}
}

static void write_fib(struct writer *writer, const struct nftnl_expr *expr)
{
	static const struct {
		uint32_t flags;
		const char *field;
	} keys[] = {
		{ NFTA_FIB_F_SADDR, "fib saddr type" },
		{ NFTA_FIB_F_DADDR, "fib daddr type" },
		{ NFTA_FIB_F_SADDR | NFTA_FIB_F_IIF, "fib saddr . iif type" },
		{ NFTA_FIB_F_DADDR | NFTA_FIB_F_IIF, "fib daddr . iif type" },
		{ NFTA_FIB_F_SADDR | NFTA_FIB_F_OIF, "fib saddr . oif type" },
		{ NFTA_FIB_F_DADDR | NFTA_FIB_F_OIF, "fib daddr . oif type" },
	};

	load(writer, "[fib]", KIND_HEX);
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (keys[i].flags == get(expr, NFTNL_EXPR_FIB_FLAGS) &&
		    get(expr, NFTNL_EXPR_FIB_RESULT) == NFT_FIB_RESULT_ADDRTYPE)
			load(writer, keys[i].field, KIND_TYPE);
}

static void write_bits(struct writer *writer, uint32_t value, const char *const *names)
{
	bool first = true;

	for (unsigned int bit = 0; names[bit]; bit++) {
		if (!(value & UINT32_C(1) << bit) || !*names[bit])
			continue;
		put(writer, "%s%s", first ? "" : ",", names[bit]);
		first = false;
	}
	if (first)
		put(writer, "0x%x", value);
}

static void write_address(struct writer *writer, const void *data, size_t length)
{
	unsigned int prefix = (unsigned int)(8 * length);
	char text[INET_ADDRSTRLEN];
	uint32_t address = 0;

	memcpy(&address, data, length > 4 ? 4 : length);
	if (writer->masked)
		for (prefix = 0; prefix < 32 && ntohl(writer->mask) & UINT32_C(1) << (31 - prefix);)
			prefix++;
	put(writer, "%s", inet_ntop(AF_INET, &address, text, sizeof(text)));
	if (prefix < 32)
		put(writer, "/%u", prefix);
}

static void write_value(struct writer *writer, const void *data, size_t length)
{
	static const char *const states[] = { "invalid", "established", "related", "new", "",
					      "",	 "untracked",	NULL };
	static const char *const status[] = { "expected", "seen-reply", "assured", "confirmed",
					      "snat",	  "dnat",	NULL };
	static const char *const types[] = { "unspec",	  "unicast",	 "local",
					     "broadcast", "anycast",	 "multicast",
					     "blackhole", "unreachable", "prohibit" };
	char name[NB_IFNAME_SIZE + 1] = "", line[4 * NB_IFNAME_SIZE];
	const uint8_t *bytes = data;
	uint32_t word = 0;

	memcpy(&word, data, length > sizeof(word) ? sizeof(word) : length);
	if (writer->turned)
		word = ntohl(word);
	switch (writer->kind) {
	case KIND_NAME:
		memcpy(name, data, length > NB_IFNAME_SIZE ? NB_IFNAME_SIZE : length);
		nb_copy_line(line, sizeof(line), name);
		/* the beginning of a name, with no end */
		put(writer, "\"%s%s\"", line, memchr(data, '\0', length) ? "" : "*");
		return;
	case KIND_NUMBER:
		put(writer, "%u", word);
		return;
	case KIND_ADDRESS:
		write_address(writer, data, length);
		return;
	case KIND_PORT:
		put(writer, "%u", length >= 2 ? (unsigned int)(bytes[0] << 8 | bytes[1]) : 0);
		return;
	case KIND_PROTOCOL:
		if (bytes[0] == IPPROTO_TCP || bytes[0] == IPPROTO_UDP)
			put(writer, bytes[0] == IPPROTO_TCP ? "tcp" : "udp");
		else
			put(writer, "%u", bytes[0]);
		return;
	case KIND_STATE:
		write_bits(writer, word, states);
		return;
	case KIND_STATUS:
		write_bits(writer, word, status);
		return;
	case KIND_TYPE:
		if (word < sizeof(types) / sizeof(types[0]))
			put(writer, "%s", types[word]);
		else
			put(writer, "%u", word);
		return;
	default:
		put(writer, "0x%x", word);
	}
}

static void write_bitwise(struct writer *writer, const struct nftnl_expr *expr)
{
	uint32_t length = 0;
	const void *mask = nftnl_expr_get(expr, NFTNL_EXPR_BITWISE_MASK, &length);

	writer->masked = mask && length == sizeof(writer->mask);
	if (writer->masked)
		memcpy(&writer->mask, mask, sizeof(writer->mask));
}

static void write_cmp(struct writer *writer, const struct nftnl_expr *expr)
{
	static const char *const operators[] = { "", "!= ", "< ", "<= ", "> ", ">= " };
	uint32_t length = 0, operator= get(expr, NFTNL_EXPR_CMP_OP), word = 0;
	const void *data = nftnl_expr_get(expr, NFTNL_EXPR_CMP_DATA, &length);

	if (!writer->field || !data || operator>= sizeof(operators) / sizeof(operators[0]))
		return;
	memcpy(&word, data, length > sizeof(word) ? sizeof(word) : length);
	put(writer, "%s ", writer->field);
	if (writer->masked && writer->kind == KIND_HEX)
		put(writer, "& 0x%x == ", writer->mask);
	/* some of these bits, says nft by comparing with none of them */
	if (writer->masked && operator== NFT_CMP_NEQ &&
	    word == 0 &&(writer->kind == KIND_STATE || writer->kind == KIND_STATUS)) {
		write_value(writer, &writer->mask, sizeof(writer->mask));
		put(writer, " ");
		return;
	}
	put(writer, "%s", operators[operator]);
	write_value(writer, data, length);
	put(writer, " ");
}

static void write_range(struct writer *writer, const struct nftnl_expr *expr)
{
	uint32_t low_size = 0, high_size = 0;
	const void *low = nftnl_expr_get(expr, NFTNL_EXPR_RANGE_FROM_DATA, &low_size);
	const void *high = nftnl_expr_get(expr, NFTNL_EXPR_RANGE_TO_DATA, &high_size);

	if (!writer->field || !low || !high)
		return;
	put(writer, "%s %s", writer->field,
	    get(expr, NFTNL_EXPR_RANGE_OP) == NFT_RANGE_NEQ ? "!= " : "");
	write_value(writer, low, low_size);
	put(writer, "-");
	write_value(writer, high, high_size);
	put(writer, " ");
}

static void write_byteorder(struct writer *writer, const struct nftnl_expr *expr)
{
	if (get(expr, NFTNL_EXPR_BYTEORDER_SIZE) == sizeof(uint32_t))
		writer->turned = !writer->turned;
}

static void write_lookup(struct writer *writer, const struct nftnl_expr *expr)
{
	const char *set = nftnl_expr_get_str(expr, NFTNL_EXPR_LOOKUP_SET);
	bool inverted = nftnl_expr_is_set(expr, NFTNL_EXPR_LOOKUP_FLAGS) &&
			get(expr, NFTNL_EXPR_LOOKUP_FLAGS) & NFT_LOOKUP_F_INV;

	put(writer, "%s%s%s%s ", writer->field ? writer->field : "[key]", inverted ? " !=" : "",
	    nftnl_expr_is_set(expr, NFTNL_EXPR_LOOKUP_DREG) ? " map @" : " @",
	    set && strncmp(set, "__", 2) != 0 ? set : "{...}");
}

static void write_verdict(struct writer *writer, const struct nftnl_expr *expr)
{
	static const struct {
		int verdict;
		const char *word;
	} verdicts[] = {
		{ NF_ACCEPT, "accept " }, { NF_DROP, "drop " }, { NFT_RETURN, "return " },
		{ NFT_JUMP, "jump" },	  { NFT_GOTO, "goto" },
	};
	const char *chain = nftnl_expr_get_str(expr, NFTNL_EXPR_IMM_CHAIN);
	char line[64];

	if (!nftnl_expr_is_set(expr, NFTNL_EXPR_IMM_VERDICT)) {
		writer->value = nftnl_expr_get(expr, NFTNL_EXPR_IMM_DATA, &writer->value_length);
		return;
	}
	for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++)
		if (verdicts[i].verdict == (int)get(expr, NFTNL_EXPR_IMM_VERDICT))
			put(writer, "%s", verdicts[i].word);
	if (chain) {
		nb_copy_line(line, sizeof(line), chain);
		put(writer, " %s ", line);
	}
}

static int write_expression(struct nftnl_expr *expr, void *data)
{
	static const struct {
		const char *name;
		void (*write)(struct writer *, const struct nftnl_expr *);
	} known[] = {
		{ "meta", write_meta },	      { "payload", write_payload },
		{ "ct", write_ct },	      { "fib", write_fib },
		{ "bitwise", write_bitwise }, { "cmp", write_cmp },
		{ "lookup", write_lookup },   { "immediate", write_verdict },
		{ "range", write_range },     { "byteorder", write_byteorder },
	};
	const char *name = nftnl_expr_get_str(expr, NFTNL_EXPR_NAME), *detail = NULL;
	struct writer *writer = data;

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(name, known[i].name) == 0) {
			known[i].write(writer, expr);
			return 0;
		}
	if (strcmp(name, "counter") == 0)
		return 0;
	/* it may have filled the register, and nobody here knows with what */
	load(writer, NULL, KIND_NONE);
	if (strcmp(name, "match") == 0)
		detail = nftnl_expr_get_str(expr, NFTNL_EXPR_MT_NAME);
	else if (strcmp(name, "target") == 0)
		detail = nftnl_expr_get_str(expr, NFTNL_EXPR_TG_NAME);
	if (detail && strcmp(detail, "comment") == 0)
		return 0;
	if (detail)
		put(writer, strcmp(name, "match") == 0 ? "-m %s ... " : "-j %s ", detail);
	else
		put(writer, "%s ", name);
	return 0;
}

char *nb_rule_text(const struct nftnl_rule *rule, char *buffer, size_t size)
{
	struct writer writer = { .buffer = buffer, .size = size };

	buffer[0] = '\0';
	/* libnftnl 1.2.4 lacks const here; it does not write */
	nftnl_expr_foreach((struct nftnl_rule *)(uintptr_t)rule, write_expression, &writer);
	while (writer.used && buffer[writer.used - 1] == ' ')
		buffer[--writer.used] = '\0';
	return buffer;
}

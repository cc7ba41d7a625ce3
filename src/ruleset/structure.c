/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Comparison of a table with the schema.
 *
 * Rules are compared by what libnftnl prints of their expressions, ours
 * beside the kernel's, after what legitimately differs was levelled: counts, flags
 * that the kernel fills in, and the names of anonymous sets.
 */
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <libnftnl/expr.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include "schema.h"
#include "structure.h"

/* A flag of nft 1.0.7 and later: how a key is described, not what it is. */
#ifndef NFT_SET_CONCAT
#define NFT_SET_CONCAT 0x80
#endif

static __attribute__((format(printf, 2, 3))) void damaged(struct nb_structure *structure,
							  const char *format, ...)
{
	va_list args;

	if (structure->damage[0])
		return;
	va_start(args, format);
	vsnprintf(structure->damage, structure->damage_size, format, args);
	va_end(args);
}

static size_t chain_index(const char *name)
{
	size_t i = 0;

	while (i < nb_schema_chain_count && strcmp(nb_schema_chains[i].name, name) != 0)
		i++;
	return i;
}

void nb_structure_chain(struct nb_structure *structure, const struct nftnl_chain *chain)
{
	const char *name = nftnl_chain_get_str(chain, NFTNL_CHAIN_NAME);
	size_t index = chain_index(name);
	const struct nb_schema_chain *schema = &nb_schema_chains[index];
	bool base = nftnl_chain_is_set(chain, NFTNL_CHAIN_HOOKNUM);

	if (index == nb_schema_chain_count) {
		damaged(structure, "chain %s is not ours", name);
		return;
	}
	structure->chains_seen[index] = true;
	if (base != (schema->type != NULL)) {
		damaged(structure, "chain %s %s", name, base ? "has a hook" : "has lost its hook");
		return;
	}
	if (!base)
		return;
	if (nftnl_chain_get_u32(chain, NFTNL_CHAIN_HOOKNUM) != schema->hook ||
	    strcmp(nftnl_chain_get_str(chain, NFTNL_CHAIN_TYPE), schema->type) != 0)
		damaged(structure, "chain %s has another hook or type", name);
	else if (nftnl_chain_get_s32(chain, NFTNL_CHAIN_PRIO) != schema->priority)
		damaged(structure, "chain %s has priority %d instead of %d", name,
			nftnl_chain_get_s32(chain, NFTNL_CHAIN_PRIO), schema->priority);
	else if (nftnl_chain_get_u32(chain, NFTNL_CHAIN_POLICY) != NF_ACCEPT)
		damaged(structure, "chain %s has another policy", name);
}

static int is_counter(struct nftnl_expr *expr, void *data)
{
	*(bool *)data = strcmp(nftnl_expr_get_str(expr, NFTNL_EXPR_NAME), "counter") == 0;
	return 0;
}

static bool has_counter(const struct nftnl_set *set)
{
	bool counter = false;

	nftnl_set_expr_foreach(set, is_counter, &counter);
	return counter;
}

void nb_structure_set(struct nb_structure *structure, const struct nftnl_set *set)
{
	const char *name = nftnl_set_get_str(set, NFTNL_SET_NAME);
	uint32_t flags = nftnl_set_get_u32(set, NFTNL_SET_FLAGS) & ~(uint32_t)NFT_SET_CONCAT;

	if (flags & NFT_SET_ANONYMOUS) {
		structure->anonymous_sets++;
		return;
	}
	for (size_t i = 0; i < nb_schema_set_count; i++) {
		const struct nb_schema_set *schema = &nb_schema_sets[i];

		if (strcmp(schema->name, name) != 0)
			continue;
		structure->sets_seen[i] = true;
		if (flags != schema->flags ||
		    nftnl_set_get_u32(set, NFTNL_SET_KEY_LEN) != schema->key_length ||
		    nftnl_set_get_u32(set, NFTNL_SET_KEY_TYPE) != schema->key_type ||
		    (schema->data_type &&
		     nftnl_set_get_u32(set, NFTNL_SET_DATA_LEN) != schema->data_length) ||
		    (schema->data_type &&
		     nftnl_set_get_u32(set, NFTNL_SET_DATA_TYPE) != schema->data_type) ||
		    nftnl_set_get_u64(set, NFTNL_SET_TIMEOUT) != 0 ||
		    nftnl_set_get_u32(set, NFTNL_SET_DESC_SIZE) != 0 ||
		    schema->counter != has_counter(set))
			damaged(structure, "set %s has another type", name);
		return;
	}
	damaged(structure, "set %s is not ours", name);
}

/* What the kernel fills in and a request leaves out. */
static void default_u32(struct nftnl_expr *expr, uint16_t attr, uint32_t value)
{
	if (!nftnl_expr_is_set(expr, attr))
		nftnl_expr_set_u32(expr, attr, value);
}

static void level_nat(struct nftnl_expr *expr)
{
	nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_FLAGS, 0);
	default_u32(expr, NFTNL_EXPR_NAT_REG_ADDR_MAX,
		    nftnl_expr_get_u32(expr, NFTNL_EXPR_NAT_REG_ADDR_MIN));
	default_u32(expr, NFTNL_EXPR_NAT_REG_PROTO_MAX,
		    nftnl_expr_get_u32(expr, NFTNL_EXPR_NAT_REG_PROTO_MIN));
}

struct printer {
	char *buffer;
	size_t size;
	size_t length;
	struct nb_structure *structure; /* collects anonymous sets, if not NULL */
};

static __attribute__((format(printf, 2, 3))) void append(struct printer *printer,
							 const char *format, ...)
{
	va_list args;
	int length;

	if (printer->length >= printer->size)
		return;
	va_start(args, format);
	length = vsnprintf(printer->buffer + printer->length, printer->size - printer->length,
			   format, args);
	va_end(args);
	if (length > 0)
		printer->length += (size_t)length;
}

/*
 * A lookup in an anonymous set: its name differs from load to load. It is
 * printed here, because libnftnl 1.2.4 leaks the old name when another is set.
 */
static bool print_anonymous_lookup(const struct nftnl_expr *expr, struct printer *printer)
{
	const char *set = nftnl_expr_get_str(expr, NFTNL_EXPR_LOOKUP_SET);
	struct nb_structure *structure = printer->structure;

	if (!set || strncmp(set, "__set", 5) != 0)
		return false;
	if (structure && structure->anonymous_count < 8)
		snprintf(structure->anonymous[structure->anonymous_count++],
			 sizeof(structure->anonymous[0]), "%s", set);
	append(printer, "reg %u anonymous set 0x%x %d;",
	       nftnl_expr_get_u32(expr, NFTNL_EXPR_LOOKUP_SREG),
	       nftnl_expr_get_u32(expr, NFTNL_EXPR_LOOKUP_FLAGS),
	       nftnl_expr_is_set(expr, NFTNL_EXPR_LOOKUP_DREG));
	return true;
}

static int print_expression(struct nftnl_expr *expr, void *data)
{
	const char *name = nftnl_expr_get_str(expr, NFTNL_EXPR_NAME);
	struct printer *printer = data;
	int length;

	if (strcmp(name, "counter") == 0) {
		nftnl_expr_set_u64(expr, NFTNL_EXPR_CTR_PACKETS, 0);
		nftnl_expr_set_u64(expr, NFTNL_EXPR_CTR_BYTES, 0);
	} else if (strcmp(name, "nat") == 0) {
		level_nat(expr);
	} else if (strcmp(name, "lookup") == 0) {
		default_u32(expr, NFTNL_EXPR_LOOKUP_FLAGS, 0);
		if (print_anonymous_lookup(expr, printer))
			return 0;
	}
	if (printer->length >= printer->size)
		return 0;
	length = nftnl_expr_snprintf(printer->buffer + printer->length,
				     printer->size - printer->length, expr, NFTNL_OUTPUT_DEFAULT,
				     0);
	if (length > 0)
		printer->length += (size_t)length;
	append(printer, " %s;", name);
	return 0;
}

/* Writes to the expressions that it prints: callers do not need the rule afterwards. */
static void print_rule(const struct nftnl_rule *rule, char *buffer, size_t size,
		       struct nb_structure *structure)
{
	struct printer printer = { .buffer = buffer, .size = size, .structure = structure };

	buffer[0] = '\0';
	nftnl_expr_foreach((struct nftnl_rule *)(uintptr_t)rule, print_expression, &printer);
}

void nb_structure_rule(struct nb_structure *structure, const struct nftnl_rule *rule)
{
	const char *name = nftnl_rule_get_str(rule, NFTNL_RULE_CHAIN);
	size_t index = chain_index(name), position;
	struct nftnl_rule *expected;
	char ours[2048], theirs[2048];

	if (index == nb_schema_chain_count)
		return; /* the chain itself was found to be foreign */
	position = structure->rules_seen[index]++;
	if (position >= NB_SCHEMA_RULES || nb_schema_chains[index].rules[position][0] == NB_END) {
		damaged(structure, "chain %s has a rule too many", name);
		return;
	}
	expected = nftnl_rule_alloc();
	if (!expected || nb_statements_build(expected, NFPROTO_INET, structure->mark,
					     nb_schema_chains[index].rules[position], 0) < 0) {
		damaged(structure, "out of memory");
		nftnl_rule_free(expected);
		return;
	}
	print_rule(expected, ours, sizeof(ours), NULL);
	print_rule(rule, theirs, sizeof(theirs), structure);
	nftnl_rule_free(expected);
	if (strcmp(ours, theirs) != 0)
		damaged(structure, "rule %zu of chain %s differs", position + 1, name);
}

void nb_structure_unreadable(struct nb_structure *structure)
{
	damaged(structure, "it has a rule that is not ours and cannot be read");
}

void nb_structure_anonymous(struct nb_structure *structure, const uint8_t *protocols, size_t count)
{
	bool tcp = false, udp = false;

	for (size_t i = 0; i < count; i++) {
		tcp |= protocols[i] == IPPROTO_TCP;
		udp |= protocols[i] == IPPROTO_UDP;
	}
	if (count != 2 || !tcp || !udp)
		damaged(structure, "the set { tcp, udp } of a rule has other elements");
}

bool nb_structure_is_sound(struct nb_structure *structure)
{
	for (size_t i = 0; i < nb_schema_set_count; i++)
		if (!structure->sets_seen[i])
			damaged(structure, "set %s is missing", nb_schema_sets[i].name);
	for (size_t i = 0; i < nb_schema_chain_count; i++) {
		size_t want = 0;

		while (nb_schema_chains[i].rules[want][0] != NB_END)
			want++;
		if (!structure->chains_seen[i])
			damaged(structure, "chain %s is missing", nb_schema_chains[i].name);
		else if (structure->rules_seen[i] < want)
			damaged(structure, "chain %s lacks %zu of its %zu rules",
				nb_schema_chains[i].name, want - structure->rules_seen[i], want);
	}
	return structure->damage[0] == '\0';
}

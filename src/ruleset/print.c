/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Operations as an nft script, and in words. */
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <stdio.h>
#include <string.h>

#include "nat-bridge/ruleset.h"
#include "opener.h"
#include "schema.h"

static const char *family_name(uint8_t family)
{
	return family == NFPROTO_IPV4 ? "ip" : "inet";
}

static const char *format_address(uint32_t address, char *buffer)
{
	struct in_addr in = { .s_addr = htonl(address) };

	return inet_ntop(AF_INET, &in, buffer, INET_ADDRSTRLEN);
}

static void print_element(const struct nb_op *op, int64_t now, FILE *out)
{
	bool add = op->kind == NB_OP_TARGET_ADD || op->kind == NB_OP_ACCEPTED_ADD;
	bool target = op->kind == NB_OP_TARGET_ADD || op->kind == NB_OP_TARGET_DELETE;
	const struct nb_element *e = op->element;
	char address[INET_ADDRSTRLEN];

	format_address(e->target.address, address);
	fprintf(out, "%s element inet %s %s { \"%s\" . %s . %u", add ? "add" : "delete",
		NB_TABLE_NAME, target ? NB_SET_TARGETS : NB_SET_ACCEPTED, e->bridge,
		nb_protocol_name(e->protocol), e->port);
	if (!target)
		fprintf(out, " . %s . %u", address, e->target.port);
	if (add && e->expires) {
		int64_t left = e->expires > now ? e->expires - now : 1;

		fprintf(out, " timeout %lldms", (long long)left);
	}
	if (add && target && e->comment)
		fprintf(out, " comment \"%s\"", e->comment);
	if (add && target)
		fprintf(out, " : %s . %u", address, e->target.port);
	fputs(" }\n", out);
}

static void print_opener(const struct nb_op *op, uint32_t mark, FILE *out)
{
	const struct nb_input_chain *chain = op->opener.chain;

	if (op->kind == NB_OP_OPENER_DELETE) {
		fprintf(out, "delete rule %s %s %s handle %llu\n", family_name(chain->family),
			chain->table, chain->name, (unsigned long long)op->opener.handle);
		return;
	}
	if (chain->iptables)
		fputs("# the next rule's mark is an xt match, for iptables to read\n", out);
	fprintf(out, "insert rule %s %s %s ", family_name(chain->family), chain->table,
		chain->name);
	nb_statements_print(out, mark, nb_opener_statements(chain));
	fprintf(out, " comment \"%s\"\n", NB_OPENER_COMMENT);
}

static void print_bridge(const struct nb_op *op, FILE *out)
{
	bool add = op->kind == NB_OP_BRIDGE_ADD;

	fprintf(out, "%s element inet %s %s { \"%s\"", add ? "add" : "delete", NB_TABLE_NAME,
		NB_SET_BRIDGES, op->bridge->name);
	if (add && op->bridge->comment[0])
		fprintf(out, " comment \"%s\"", op->bridge->comment);
	fputs(" }\n", out);
}

void nb_ops_print(const struct nb_op_list *ops, uint32_t mark, int64_t now, FILE *out)
{
	for (size_t i = 0; i < ops->count; i++) {
		const struct nb_op *op = &ops->items[i];

		switch (op->kind) {
		case NB_OP_TABLE_DELETE:
			fprintf(out, "delete table inet %s\n", NB_TABLE_NAME);
			break;
		case NB_OP_TABLE_CREATE:
			nb_schema_print(mark, out);
			break;
		case NB_OP_BRIDGE_ADD:
		case NB_OP_BRIDGE_DELETE:
			print_bridge(op, out);
			break;
		case NB_OP_OPENER_INSERT:
		case NB_OP_OPENER_DELETE:
			print_opener(op, mark, out);
			break;
		default:
			print_element(op, now, out);
		}
	}
}

void nb_op_describe(const struct nb_op *op, char *buffer, size_t size)
{
	char target[NB_TARGET_SIZE];

	switch (op->kind) {
	case NB_OP_TABLE_DELETE:
		snprintf(buffer, size, "delete table inet %s", NB_TABLE_NAME);
		break;
	case NB_OP_TABLE_CREATE:
		snprintf(buffer, size, "create table inet %s", NB_TABLE_NAME);
		break;
	case NB_OP_BRIDGE_ADD:
	case NB_OP_BRIDGE_DELETE:
		snprintf(buffer, size, "%s bridge %s",
			 op->kind == NB_OP_BRIDGE_ADD ? "guard" : "release", op->bridge->name);
		break;
	case NB_OP_OPENER_INSERT:
	case NB_OP_OPENER_DELETE:
		snprintf(buffer, size, "%s the accept rule in chain %s %s %s",
			 op->kind == NB_OP_OPENER_INSERT ? "insert" : "delete",
			 family_name(op->opener.chain->family), op->opener.chain->table,
			 op->opener.chain->name);
		break;
	default:
		snprintf(buffer, size, "%s mapping %s %u/%s to %s",
			 op->kind == NB_OP_TARGET_ADD || op->kind == NB_OP_ACCEPTED_ADD ? "add"
											: "remove",
			 op->element->bridge, op->element->port,
			 nb_protocol_name(op->element->protocol),
			 nb_target_format(&op->element->target, target));
	}
}

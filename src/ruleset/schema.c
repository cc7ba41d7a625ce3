/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Schema 2 of table inet nat-bridge.
 *
 * The way of a packet from a managed bridge:
 *
 *   wire -> guard -> translate -> spoofed -> routing -> admit .. foreign
 *           (raw)    (dstnat-10)  (dstnat+1)            input chains with the
 *                                                       opener .. admit-late
 *                                                       .. unmark -> socket
 *   socket -> egress -> answers -> wire
 *
 * Cheap tests stand first in each rule, so that other traffic of the host
 * pays two comparisons.
 */
#include <netinet/in.h>
#include <libnftnl/udata.h>
#include <limits.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_ipv4.h>

#include "nat-bridge/ruleset.h"
#include "schema.h"

#define PRIORITY_RAW	(-300)
#define PRIORITY_DSTNAT (-100)
#define PRIORITY_FILTER 0
#define PRIORITY_SRCNAT 100

const struct nb_schema_chain nb_schema_chains[] = {
	{
		/* before any NAT: nobody but us makes packets to 127/8 out of a bridge's */
		.name = "guard",
		.type = "filter",
		.hook = NF_INET_PRE_ROUTING,
		.priority = PRIORITY_RAW,
		.hook_text = "prerouting priority raw",
		.rules = {
			{ NB_DADDR_LOOPBACK, NB_IIF_MANAGED, NB_COUNTER, NB_DROP },
			{ NB_SADDR_LOOPBACK, NB_IIF_MANAGED, NB_COUNTER, NB_DROP },
		},
	},
	{
		/* only packets to an address of the host: no hijack of others' traffic */
		.name = "translate",
		.type = "nat",
		.hook = NF_INET_PRE_ROUTING,
		.priority = PRIORITY_DSTNAT - 10,
		.hook_text = "prerouting priority dstnat - 10",
		.rules = {
			{ NB_IPV4, NB_FIB_LOCAL, NB_TRANSLATE },
		},
	},
	{
		/*
		 * Nobody injects into another bridge's flows. TCP of managed
		 * bridges is spared: a spoofer must guess the sequence, and the
		 * fib lookup for each packet costs 9 %.
		 *
		 * And the stamp: with bridge-nf-call-iptables packets come through here
		 * before they come to the device's ingress, where our filter drops what is to
		 * 127/8 without the mark (see ingress.h). `admit` takes it away again.
		 */
		.name = "translated",
		.rules = {
			{ NB_IIF_MANAGED, NB_L4_NOT_UDP, NB_CT_DNAT, NB_MARK_SET, NB_ACCEPT },
			{ NB_FIB_SPOOFED, NB_COUNTER, NB_DROP },
			{ NB_IIF_MANAGED, NB_CT_DNAT, NB_MARK_SET },
		},
	},
	{
		.name = "spoofed",
		.type = "filter",
		.hook = NF_INET_PRE_ROUTING,
		.priority = PRIORITY_DSTNAT + 1,
		.hook_text = "prerouting priority dstnat + 1",
		.rules = {
			{ NB_DADDR_LOOPBACK, NB_IIF_NOT_LO, NB_JUMP_TRANSLATED },
		},
	},
	{
		/* what is to 127/8 here was translated, or slipped past the guard */
		.name = "mapped",
		.rules = {
			{ NB_L4_TCP_UDP, NB_ACCEPTED_IN, NB_CT_DNAT, NB_MARK_SET, NB_ACCEPT },
			{ NB_L4_ICMP, NB_CT_RELATED, NB_CT_DNAT, NB_MARK_SET, NB_ACCEPT },
			/*
			 * A container's answer to the host's own 127.0.0.1, through
			 * somebody's DNAT of local output (a port that Docker publishes
			 * there without its proxy). The host began such a flow: from
			 * a bridge the guard drops that source.
			 */
			{ NB_CT_DNAT, NB_CT_REPLY, NB_ACCEPT },
			{ NB_COUNTER, NB_DROP },
		},
	},
	{
		/* before any foreign input chain; only we may set the mark */
		.name = "admit",
		.type = "filter",
		.hook = NF_INET_LOCAL_IN,
		.priority = INT32_MIN,
		.hook_text = "input priority -2147483648",
		.rules = {
			{ NB_DADDR_LOOPBACK, NB_MARKED, NB_MARK_CLEAR },
			{ NB_DADDR_LOOPBACK, NB_IIF_MANAGED, NB_JUMP_MAPPED },
			{ NB_SADDR_LOOPBACK, NB_IIF_MANAGED, NB_COUNTER, NB_DROP },
		},
	},
	{
		/* again, after foreign mangle chains that rewrite marks; never counted twice */
		.name = "admit-late",
		.type = "filter",
		.hook = NF_INET_LOCAL_IN,
		.priority = PRIORITY_FILTER - 1,
		.hook_text = "input priority filter - 1",
		.rules = {
			{ NB_DADDR_LOOPBACK, NB_MARKED, NB_ACCEPT },
			{ NB_DADDR_LOOPBACK, NB_IIF_MANAGED, NB_JUMP_MAPPED },
		},
	},
	{
		/* the mark is for the input hook alone */
		.name = "unmark",
		.type = "filter",
		.hook = NF_INET_LOCAL_IN,
		.priority = INT32_MAX,
		.hook_text = "input priority 2147483647",
		.rules = {
			{ NB_DADDR_LOOPBACK, NB_MARKED, NB_MARK_CLEAR },
		},
	},
	{
		/*
		 * A revoked or expired UDP flow's socket would go on sending. TCP
		 * stops without acknowledgements, and its reset must get out.
		 */
		.name = "answers",
		.rules = {
			{ NB_L4_TCP, NB_CT_DNAT, NB_ACCEPT },
			{ NB_L4_TCP_UDP, NB_ACCEPTED_OUT, NB_CT_DNAT, NB_ACCEPT },
			/* somebody's DNAT of local output */
			{ NB_CT_DNAT, NB_CT_ORIGINAL, NB_ACCEPT },
			{ NB_CT_DNAT, NB_L4_ICMP, NB_CT_RELATED, NB_ACCEPT },
			{ NB_COUNTER, NB_DROP },
		},
	},
	{
		.name = "egress",
		.type = "filter",
		.hook = NF_INET_POST_ROUTING,
		.priority = PRIORITY_SRCNAT - 1,
		.hook_text = "postrouting priority srcnat - 1",
		.rules = {
			{ NB_SADDR_LOOPBACK, NB_OIF_MANAGED, NB_JUMP_ANSWERS },
		},
	},
};
const size_t nb_schema_chain_count = sizeof(nb_schema_chains) / sizeof(nb_schema_chains[0]);

/* nft's datatype numbers; a concatenation has six bits for each field. */
#define TYPE_IPV4    7u
#define TYPE_SERVICE 13u
#define TYPE_IFNAME  41u
#define CONCAT(a, b) ((a) << 6 | (b))
#define TYPE_KEY     CONCAT(CONCAT(TYPE_IFNAME, NB_TYPE_PROTOCOL), TYPE_SERVICE)

const struct nb_schema_set nb_schema_sets[] = {
	{
		.name = NB_SET_BRIDGES,
		.id = NB_SET_ID_BRIDGES,
		.key_type = TYPE_IFNAME,
		.key_length = NB_IFNAME_SIZE,
		.text = "\t\ttype ifname\n",
	},
	{
		.name = NB_SET_TARGETS,
		.id = NB_SET_ID_TARGETS,
		.flags = NFT_SET_MAP | NFT_SET_TIMEOUT,
		.key_type = TYPE_KEY,
		.key_length = NB_TARGETS_KEY_LENGTH,
		.data_type = CONCAT(TYPE_IPV4, TYPE_SERVICE),
		.data_length = NB_TARGETS_DATA_LENGTH,
		.counter = true,
		.text = "\t\ttype ifname . inet_proto . inet_service : ipv4_addr . inet_service\n"
			"\t\tflags timeout\n\t\tcounter\n",
	},
	{
		.name = NB_SET_ACCEPTED,
		.id = NB_SET_ID_ACCEPTED,
		.flags = NFT_SET_TIMEOUT,
		.key_type = CONCAT(CONCAT(TYPE_KEY, TYPE_IPV4), TYPE_SERVICE),
		.key_length = NB_ACCEPTED_KEY_LENGTH,
		.counter = true,
		.text = "\t\ttype ifname . inet_proto . inet_service . ipv4_addr . inet_service\n"
			"\t\tflags timeout\n\t\tcounter\n",
	},
};
const size_t nb_schema_set_count = sizeof(nb_schema_sets) / sizeof(nb_schema_sets[0]);

bool nb_schema_rule_has_set(const enum nb_statement *statements)
{
	for (; *statements != NB_END; statements++)
		if (*statements == NB_L4_TCP_UDP)
			return true;
	return false;
}

void nb_schema_print(uint32_t mark, FILE *out)
{
	fprintf(out, "table inet %s {\n\tcomment \"" NB_SCHEMA_COMMENT_PREFIX "%d\"\n",
		NB_TABLE_NAME, NB_SCHEMA);
	for (size_t i = 0; i < nb_schema_set_count; i++) {
		const struct nb_schema_set *set = &nb_schema_sets[i];

		fprintf(out, "\n\t%s %s {\n%s\t}\n", set->data_type ? "map" : "set", set->name,
			set->text);
	}
	for (size_t i = 0; i < nb_schema_chain_count; i++) {
		const struct nb_schema_chain *chain = &nb_schema_chains[i];

		fprintf(out, "\n\tchain %s {\n", chain->name);
		if (chain->type)
			fprintf(out, "\t\ttype %s hook %s; policy accept;\n", chain->type,
				chain->hook_text);
		for (size_t j = 0; chain->rules[j][0] != NB_END; j++) {
			fputs("\t\t", out);
			nb_statements_print(out, mark, chain->rules[j]);
			fputc('\n', out);
		}
		fputs("\t}\n", out);
	}
	fputs("}\n", out);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tables of iptables-legacy. The kernel gives a table as one block of entries: the chains of
 * its hooks, each of which ends at its "underflow" with the policy, then the others, each
 * headed by an entry whose target is ERROR and bears the chain's name. A jump is an offset.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <linux/netfilter/nf_tables.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <libnftnl/expr.h>

#include "legacy.h"

#define TABLE_NAMES "/proc/net/ip_tables_names"

/* Where a chain begins and ends in the entries. */
struct extent {
	size_t begin, end;
	size_t chain; /* its number in the list */
};

struct table {
	struct nb_chain_list *list;
	const struct ipt_getinfo *info;
	const char *entries;
	struct extent *extents;
	size_t count;
};

/* --- Entries --- */

static bool get_entry(const struct table *table, size_t offset, struct ipt_entry *ret)
{
	if (table->info->size < sizeof(*ret) || offset > table->info->size - sizeof(*ret))
		return false;
	memcpy(ret, table->entries + offset, sizeof(*ret));
	return ret->target_offset >= sizeof(*ret) &&
	       ret->next_offset >= ret->target_offset + sizeof(struct xt_entry_target) &&
	       ret->next_offset <= table->info->size - offset;
}

static void get_target(const struct table *table, size_t offset, const struct ipt_entry *entry,
		       struct xt_entry_target *ret)
{
	memcpy(ret, table->entries + offset + entry->target_offset, sizeof(*ret));
	ret->u.user.name[sizeof(ret->u.user.name) - 1] = '\0';
}

/* The number behind a target's head: a verdict; NULL if there is none. */
static const char *target_data(const struct table *table, size_t offset,
			       const struct ipt_entry *entry, size_t *length)
{
	*length = entry->next_offset - entry->target_offset - sizeof(struct xt_entry_target);
	return table->entries + offset + entry->target_offset + sizeof(struct xt_entry_target);
}

/* --- Expressions --- */

static struct nftnl_expr *add(struct nftnl_rule *rule, const char *name)
{
	struct nftnl_expr *expr = nftnl_expr_alloc(name);

	if (expr)
		nftnl_rule_add_expr(rule, expr);
	return expr;
}

static int compare(struct nftnl_rule *rule, bool inverted, const void *data, size_t length)
{
	struct nftnl_expr *expr = add(rule, "cmp");

	if (!expr)
		return -ENOMEM;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_CMP_SREG, NFT_REG_1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_CMP_OP, inverted ? NFT_CMP_NEQ : NFT_CMP_EQ);
	nftnl_expr_set(expr, NFTNL_EXPR_CMP_DATA, data, (uint32_t)length);
	return 0;
}

static int add_address(struct nftnl_rule *rule, size_t offset, struct in_addr address,
		       struct in_addr mask, bool inverted)
{
	static const uint32_t none = 0;
	struct nftnl_expr *expr;

	if (mask.s_addr == 0 && !inverted)
		return 0;
	expr = add(rule, "payload");
	if (!expr)
		return -ENOMEM;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_DREG, NFT_REG_1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_BASE, NFT_PAYLOAD_NETWORK_HEADER);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_OFFSET, (uint32_t)offset);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_LEN, sizeof(address));
	if (mask.s_addr != INADDR_BROADCAST) {
		expr = add(rule, "bitwise");
		if (!expr)
			return -ENOMEM;
		nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_SREG, NFT_REG_1);
		nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_DREG, NFT_REG_1);
		nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_LEN, sizeof(mask));
		nftnl_expr_set(expr, NFTNL_EXPR_BITWISE_MASK, &mask, sizeof(mask));
		nftnl_expr_set(expr, NFTNL_EXPR_BITWISE_XOR, &none, sizeof(none));
	}
	return compare(rule, inverted, &address, sizeof(address));
}

static int add_meta(struct nftnl_rule *rule, uint32_t key)
{
	struct nftnl_expr *expr = add(rule, "meta");

	if (!expr)
		return -ENOMEM;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_META_KEY, key);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_META_DREG, NFT_REG_1);
	return 0;
}

static int add_device(struct nftnl_rule *rule, uint32_t key, const char *name,
		      const unsigned char *mask, bool inverted)
{
	size_t length = 0;

	/* as many bytes as count: without the last zero it is the beginning of a name */
	while (length < IFNAMSIZ && mask[length])
		length++;
	if (length == 0)
		return 0;
	return add_meta(rule, key) < 0 ? -ENOMEM : compare(rule, inverted, name, length);
}

/* What the entry itself says of the packet. */
static int add_header(struct nftnl_rule *rule, const struct ipt_ip *ip)
{
	uint8_t protocol = (uint8_t)ip->proto;
	int r = add_address(rule, 12, ip->src, ip->smsk, ip->invflags & IPT_INV_SRCIP);

	if (r == 0)
		r = add_address(rule, 16, ip->dst, ip->dmsk, ip->invflags & IPT_INV_DSTIP);
	if (r == 0)
		r = add_device(rule, NFT_META_IIFNAME, ip->iniface, ip->iniface_mask,
			       ip->invflags & IPT_INV_VIA_IN);
	if (r == 0)
		r = add_device(rule, NFT_META_OIFNAME, ip->outiface, ip->outiface_mask,
			       ip->invflags & IPT_INV_VIA_OUT);
	if (r == 0 && ip->proto)
		r = add_meta(rule, NFT_META_L4PROTO) < 0
			    ? -ENOMEM
			    : compare(rule, ip->invflags & IPT_INV_PROTO, &protocol, 1);
	/* no fragment comes to these hooks, but for raw tables that come very early */
	if (r == 0 && ip->flags & IPT_F_FRAG && !add(rule, "exthdr"))
		r = -ENOMEM;
	return r;
}

static int set_extension(struct nftnl_expr *expr, uint16_t first, const char *name,
			 uint32_t revision, const void *info, size_t length)
{
	char *copy = malloc(length + 1);

	if (!expr || !copy) {
		free(copy);
		return -ENOMEM;
	}
	memcpy(copy, info, length);
	/* name, revision and information have consecutive numbers in both kinds */
	nftnl_expr_set_str(expr, first, name);
	nftnl_expr_set_u32(expr, first + 1, revision);
	nftnl_expr_set(expr, first + 2, copy, (uint32_t)length);
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): the expression owns it now */
	return 0;
}

static int add_matches(struct nftnl_rule *rule, const char *entry, size_t end)
{
	struct xt_entry_match match;
	size_t at = sizeof(struct ipt_entry);
	int r = 0;

	for (; r == 0 && at < end; at += match.u.match_size) {
		if (end - at < sizeof(match))
			return -EINVAL;
		memcpy(&match, entry + at, sizeof(match));
		if (match.u.match_size < sizeof(match) || match.u.match_size > end - at)
			return -EINVAL;
		match.u.user.name[sizeof(match.u.user.name) - 1] = '\0';
		r = set_extension(add(rule, "match"), NFTNL_EXPR_MT_NAME, match.u.user.name,
				  match.u.user.revision, entry + at + sizeof(match),
				  match.u.match_size - sizeof(match));
	}
	return r;
}

static int add_verdict(struct nftnl_rule *rule, int verdict, const char *chain)
{
	struct nftnl_expr *expr = add(rule, "immediate");

	if (!expr)
		return -ENOMEM;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_IMM_VERDICT, (uint32_t)verdict);
	if (chain)
		nftnl_expr_set_str(expr, NFTNL_EXPR_IMM_CHAIN, chain);
	return 0;
}

/* --- Chains --- */

static const struct extent *find_extent(const struct table *table, size_t begin)
{
	for (size_t i = 0; i < table->count; i++)
		if (table->extents[i].begin == begin)
			return &table->extents[i];
	return NULL;
}

static int add_standard(const struct table *table, struct nftnl_rule *rule, size_t offset,
			const struct ipt_entry *entry, int verdict)
{
	const struct extent *extent;

	if (verdict == XT_RETURN)
		return add_verdict(rule, NFT_RETURN, NULL);
	if (verdict < 0)
		return add_verdict(rule, -verdict - 1, NULL);
	/* a rule without a target: on to the next one */
	if ((size_t)verdict == offset + entry->next_offset)
		return 0;
	extent = find_extent(table, (size_t)verdict);
	if (!extent)
		return -EINVAL;
	return add_verdict(rule, entry->ip.flags & IPT_F_GOTO ? NFT_GOTO : NFT_JUMP,
			   table->list->items[extent->chain].name);
}

static int add_rule(const struct table *table, struct nb_chain *chain, size_t offset,
		    const struct ipt_entry *entry)
{
	struct nftnl_rule *rule = nftnl_rule_alloc();
	struct xt_entry_target target;
	size_t length;
	const char *data = target_data(table, offset, entry, &length);
	int r = rule ? add_header(rule, &entry->ip) : -ENOMEM;
	int verdict;

	get_target(table, offset, entry, &target);
	if (r == 0)
		r = add_matches(rule, table->entries + offset, entry->target_offset);
	if (r == 0 && target.u.user.name[0]) {
		r = set_extension(add(rule, "target"), NFTNL_EXPR_TG_NAME, target.u.user.name,
				  target.u.user.revision, data, length);
	} else if (r == 0) {
		r = length < sizeof(verdict) ? -EINVAL : 0;
		if (r == 0) {
			memcpy(&verdict, data, sizeof(verdict));
			r = add_standard(table, rule, offset, entry, verdict);
		}
	}
	if (r < 0) {
		if (rule)
			nftnl_rule_free(rule);
		return r;
	}
	return nb_chain_append(chain, rule);
}

static int note_chain(struct table *table, const char *name, size_t begin, size_t end)
{
	struct nb_chain *chain = nb_chain_list_add(table->list, NFPROTO_IPV4, table->info->name,
						   name);
	struct extent *grown;

	if (!chain)
		return -ENOMEM;
	chain->legacy = chain->loaded = true;
	grown = reallocarray(table->extents, table->count + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	table->extents = grown;
	grown[table->count++] = (struct extent){
		.begin = begin,
		.end = end,
		.chain = (size_t)(chain - table->list->items),
	};
	return 0;
}

static int priority_of(const char *table)
{
	static const struct {
		const char *table;
		int priority;
	} known[] = {
		{ "raw", NF_IP_PRI_RAW },
		{ "mangle", NF_IP_PRI_MANGLE },
		{ "security", NF_IP_PRI_SECURITY },
		{ "nat", NF_IP_PRI_NAT_DST },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(table, known[i].table) == 0)
			return known[i].priority;
	return NF_IP_PRI_FILTER;
}

static int note_hook(struct table *table, uint32_t hook)
{
	static const char *const names[] = { "PREROUTING", "INPUT", "FORWARD", "OUTPUT",
					     "POSTROUTING" };
	size_t begin = table->info->hook_entry[hook], end = table->info->underflow[hook];
	struct ipt_entry policy;
	struct nb_chain *chain;
	const char *data;
	size_t length;
	int verdict;
	int r;

	if (begin > end || !get_entry(table, end, &policy))
		return -EINVAL;
	data = target_data(table, end, &policy, &length);
	if (length < sizeof(verdict))
		return -EINVAL;
	memcpy(&verdict, data, sizeof(verdict));
	r = note_chain(table, names[hook], begin, end);
	if (r < 0)
		return r;
	chain = &table->list->items[table->list->count - 1];
	chain->base = true;
	chain->hook = hook;
	chain->priority = priority_of(table->info->name);
	chain->policy_drops = verdict == -NF_DROP - 1;
	strcpy(chain->type, strcmp(table->info->name, "nat") == 0 ? "nat" : "filter");
	return 0;
}

/* The chains that are not of a hook; the last ERROR entry heads none. */
static int note_others(struct table *table)
{
	char name[XT_FUNCTION_MAXNAMELEN];
	struct xt_entry_target target;
	struct ipt_entry entry;
	size_t begin = 0, length;
	const char *data;
	int r;

	for (size_t at = 0; at < table->info->size; at += entry.next_offset) {
		if (!get_entry(table, at, &entry))
			return -EINVAL;
		get_target(table, at, &entry, &target);
		if (strcmp(target.u.user.name, XT_ERROR_TARGET) != 0)
			continue;
		if (begin) {
			r = note_chain(table, name, begin, at);
			if (r < 0)
				return r;
		}
		data = target_data(table, at, &entry, &length);
		if (length < sizeof(name))
			return -EINVAL;
		memcpy(name, data, sizeof(name));
		name[sizeof(name) - 1] = '\0';
		begin = at + entry.next_offset;
	}
	return 0;
}

static int fill(struct table *table, const struct extent *extent)
{
	struct ipt_entry entry;
	int r = 0;

	for (size_t at = extent->begin; r == 0 && at < extent->end; at += entry.next_offset) {
		if (!get_entry(table, at, &entry))
			return -EINVAL;
		r = add_rule(table, &table->list->items[extent->chain], at, &entry);
	}
	return r;
}

int nb_legacy_parse(struct nb_chain_list *list, const struct ipt_getinfo *info, const void *entries)
{
	struct table table = { .list = list, .info = info, .entries = entries };
	int r = 0;

	for (uint32_t hook = 0; r == 0 && hook < NF_INET_NUMHOOKS; hook++)
		if (info->valid_hooks & 1U << hook)
			r = note_hook(&table, hook);
	if (r == 0)
		r = note_others(&table);
	for (size_t i = 0; r == 0 && i < table.count; i++)
		r = fill(&table, &table.extents[i]);
	/* half a chain would tell lies */
	for (size_t i = 0; r < 0 && i < table.count; i++)
		list->items[table.extents[i].chain].base = false;
	free(table.extents);
	return r;
}

/* --- The kernel --- */

/* Once more when the table changed between the two questions. */
static int read_table(struct nb_chain_list *list, int fd, const char *name)
{
	for (int attempt = 0; attempt < 10; attempt++) {
		struct ipt_getinfo info = { 0 };
		struct ipt_get_entries *answer;
		socklen_t length = sizeof(info);
		int r;

		strcpy(info.name, name);
		if (getsockopt(fd, IPPROTO_IP, IPT_SO_GET_INFO, &info, &length) < 0)
			return -errno;
		length = (socklen_t)(sizeof(*answer) + info.size);
		answer = calloc(1, length);
		if (!answer)
			return -ENOMEM;
		memcpy(answer->name, info.name, sizeof(answer->name));
		answer->size = info.size;
		r = getsockopt(fd, IPPROTO_IP, IPT_SO_GET_ENTRIES, answer, &length) < 0 ? -errno
											: 0;
		if (r == 0)
			r = nb_legacy_parse(list, &info, answer->entrytable);
		free(answer);
		if (r != -EAGAIN)
			return r;
	}
	return -EAGAIN;
}

int nb_legacy_read(struct nb_chain_list *list)
{
	char name[XT_TABLE_MAXNAMELEN];
	FILE *names = fopen(TABLE_NAMES, "re");
	int fd, r = 0;

	if (!names)
		return 0;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	while (fd >= 0 && r != -ENOMEM && fgets(name, sizeof(name), names)) {
		name[strcspn(name, "\n")] = '\0';
		if (name[0])
			r = read_table(list, fd, name);
	}
	if (fd >= 0)
		close(fd);
	fclose(names);
	return r == -ENOMEM ? r : 0;
}

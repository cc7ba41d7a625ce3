/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tables of iptables-legacy, in the bytes that the kernel gives for them. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/xt_mark.h>
#include <string.h>

#include "firewall/legacy.h"
#include "firewall/text.h"
#include "unit.h"

/* Too small a block is seen by the sanitizer: it is copied to where it just fits. */
static char block[8192];
static struct ipt_getinfo info;

static struct ipt_entry entry_of(const char *in, uint16_t protocol)
{
	struct ipt_entry entry = { .ip.proto = protocol };

	entry.target_offset = sizeof(entry);
	if (in) {
		strcpy(entry.ip.iniface, in);
		/* all of it, with the zero behind it, unless it is the beginning of names */
		memset(entry.ip.iniface_mask, 0xff, strlen(in) + 1);
	}
	return entry;
}

/* Returns where it begins. */
static uint32_t append(struct ipt_entry entry, const void *match, size_t match_size,
		       const void *target, size_t target_size)
{
	uint32_t begin = info.size;

	entry.target_offset = (uint16_t)(sizeof(entry) + match_size);
	entry.next_offset = (uint16_t)(entry.target_offset + target_size);
	ck_assert_uint_lt(begin + entry.next_offset, sizeof(block));
	memcpy(block + begin, &entry, sizeof(entry));
	if (match)
		memcpy(block + begin + sizeof(entry), match, match_size);
	memcpy(block + begin + entry.target_offset, target, target_size);
	info.size += entry.next_offset;
	info.num_entries++;
	return begin;
}

static uint32_t append_verdict(struct ipt_entry entry, int verdict)
{
	struct xt_standard_target target = { .verdict = verdict };

	target.target.u.target_size = sizeof(target);
	return append(entry, NULL, 0, &target, sizeof(target));
}

static uint32_t append_head(const char *name)
{
	struct xt_error_target target = { .target.u.user.name = XT_ERROR_TARGET };

	target.target.u.target_size = sizeof(target);
	strcpy(target.errorname, name);
	return append(entry_of(NULL, 0), NULL, 0, &target, sizeof(target));
}

static uint32_t append_marked(int verdict)
{
	struct xt_entry_match head = { .u.user = { .name = "mark", .revision = 1 } };
	struct xt_mark_mtinfo1 mark = { .mark = 0x10, .mask = 0x10 };
	char match[XT_ALIGN(sizeof(head)) + XT_ALIGN(sizeof(mark))] = { 0 };
	struct xt_standard_target target = { .verdict = verdict };

	head.u.match_size = sizeof(match);
	memcpy(match, &head, sizeof(head));
	memcpy(match + sizeof(head), &mark, sizeof(mark));
	target.target.u.target_size = sizeof(target);
	return append(entry_of(NULL, 0), match, sizeof(match), &target, sizeof(target));
}

/*
 * -A INPUT -i br-a -p tcp -j lan; -A INPUT -m mark --mark 0x10/0x10 -j ACCEPT; -P INPUT DROP
 * -A lan ! -d 10.0.0.0/8 (no target); -A lan -i br -g lan; -A lan -j RETURN
 */
static void make_table(void)
{
	const struct ipt_entry nothing = entry_of(NULL, 0);
	struct ipt_entry entry;
	uint32_t jump, lan;
	int verdict;

	memset(block, 0, sizeof(block));
	info = (struct ipt_getinfo){ .name = "filter", .valid_hooks = 1 << NF_INET_LOCAL_IN };
	jump = append_verdict(entry_of("br-a", IPPROTO_TCP), 0);
	append_marked(-NF_ACCEPT - 1);
	info.underflow[NF_INET_LOCAL_IN] = append_verdict(nothing, -NF_DROP - 1);
	append_head("lan");
	lan = info.size;
	entry = nothing;
	entry.ip.dst.s_addr = htonl(0x0a000000);
	entry.ip.dmsk.s_addr = htonl(0xff000000);
	entry.ip.invflags = IPT_INV_DSTIP;
	append_verdict(entry, (int)(info.size + sizeof(entry) + sizeof(struct xt_standard_target)));
	entry = entry_of("br", 0);
	entry.ip.iniface_mask[2] = 0;
	entry.ip.flags = IPT_F_GOTO;
	append_verdict(entry, (int)lan);
	append_verdict(nothing, XT_RETURN);
	append_head("ERROR");
	verdict = (int)lan;
	memcpy(block + jump + sizeof(entry) + sizeof(struct xt_entry_target), &verdict,
	       sizeof(verdict));
}

static const char *text_of(const struct nb_chain *chain, size_t rule)
{
	static char text[256];

	ck_assert_uint_lt(rule, chain->count);
	return nb_rule_text(chain->rules[rule], text, sizeof(text));
}

START_TEST(chains_and_rules)
{
	struct nb_chain_list list = { 0 };
	const struct nb_chain *input, *lan;

	make_table();
	ck_assert_int_eq(nb_legacy_parse(&list, &info, block), 0);
	ck_assert_uint_eq(list.count, 2);
	input = &list.items[0];
	ck_assert_str_eq(input->name, "INPUT");
	ck_assert_str_eq(input->table, "filter");
	ck_assert(input->base && input->legacy && input->loaded && input->policy_drops);
	ck_assert_int_eq(input->priority, NF_IP_PRI_FILTER);
	ck_assert_uint_eq(input->hook, NF_INET_LOCAL_IN);
	ck_assert_uint_eq(input->count, 2);
	ck_assert_str_eq(text_of(input, 0), "iifname \"br-a\" meta l4proto tcp jump lan");
	ck_assert_str_eq(text_of(input, 1), "-m mark ... accept");
	lan = nb_chain_find(&list, input, "lan");
	ck_assert_ptr_nonnull(lan);
	ck_assert(!lan->base && lan->legacy && lan->loaded);
	ck_assert_uint_eq(lan->count, 3);
	ck_assert_str_eq(text_of(lan, 0), "ip daddr != 10.0.0.0/8");
	ck_assert_str_eq(text_of(lan, 1), "iifname \"br*\" goto lan");
	ck_assert_str_eq(text_of(lan, 2), "return");
	nb_chain_list_clear(&list);
}
END_TEST

/* Is it refused as a whole, so that nobody walks half a chain? */
static bool is_refused(size_t size)
{
	struct nb_chain_list list = { 0 };
	struct ipt_getinfo shorter = info;
	char *copy = malloc(size + 1);
	int r;

	ck_assert_ptr_nonnull(copy);
	memcpy(copy, block, size);
	shorter.size = (unsigned int)size;
	r = nb_legacy_parse(&list, &shorter, copy);
	for (size_t i = 0; r < 0 && i < list.count; i++)
		ck_assert(!list.items[i].base);
	nb_chain_list_clear(&list);
	free(copy);
	return r == -EINVAL;
}

START_TEST(cut_off)
{
	make_table();
	ck_assert(!is_refused(info.size));
	for (size_t size = 0; size < info.size; size++) {
		const struct ipt_entry *last = NULL;
		bool is_whole = false;

		/* up to the end of an entry behind which nothing is wanted it may be right */
		for (size_t at = 0; at < size; at += last->next_offset) {
			last = (const struct ipt_entry *)(block + at);
			is_whole = at + last->next_offset == size;
		}
		if (!is_whole)
			ck_assert_msg(is_refused(size), "%zu bytes", size);
		else
			(void)is_refused(size);
	}
}
END_TEST

START_TEST(nonsense)
{
	uint32_t seed = 1;

	/* nothing is read that is not there; the sanitizer looks */
	for (size_t i = 0; i < 20000; i++) {
		size_t at, bytes = i % 3 + 1;

		make_table();
		while (bytes--) {
			seed = seed * 1664525 + 1013904223;
			at = (seed >> 8) % info.size;
			seed = seed * 1664525 + 1013904223;
			block[at] = (char)(seed >> 24);
		}
		(void)is_refused(info.size);
	}
	make_table();
	info.hook_entry[NF_INET_LOCAL_IN] = info.underflow[NF_INET_LOCAL_IN] + 1;
	ck_assert(is_refused(info.size));
	make_table();
	info.underflow[NF_INET_LOCAL_IN] = UINT32_MAX;
	ck_assert(is_refused(info.size));
	make_table();
	/* a jump to where no chain begins */
	append_verdict(entry_of(NULL, 0), 8);
	append_head("ERROR");
	ck_assert(is_refused(info.size));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("legacy");

	unit_add(suite, "chains_and_rules", chains_and_rules);
	unit_add(suite, "cut_off", cut_off);
	unit_add(suite, "nonsense", nonsense);
	return unit_run(suite);
}

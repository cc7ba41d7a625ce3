/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is sent to the kernel, byte for byte, and whom its refusals name.
 *
 * The golden bytes are in golden/batch.hex. To make them anew after a wanted
 * change, run this test with NB_GOLDEN_WRITE=1 in the environment, and read the
 * difference: each message has its label above it.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <netinet/in.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "fake_kernel.h"
#include "ruleset/schema.h"
#include "unit.h"
#include "world.h"

#define MARK	   UINT32_C(0x10000000)
#define GENERATION 0x01020304
#define NOW	   1000000

static struct nb_error err;

static int commit(const struct nb_op *items, size_t count, int64_t now)
{
	struct nb_op_list list = { .items = (struct nb_op *)(uintptr_t)items, .count = count };
	struct nb_netlink *nl = nb_netlink_new();
	int r;

	ck_assert_ptr_nonnull(nl);
	fake.exchanges = 0;
	fake.generation = GENERATION;
	memset(&err, 0, sizeof(err));
	r = nb_ops_commit(nl, &list, MARK, GENERATION, now, &err);
	nb_netlink_free(nl);
	return r;
}

static char filter[] = "filter", input[] = "INPUT", runtime[] = "runtime/iface:br0";

static struct nb_bridge br0 = { .name = "br0", .comment = "iface:br0/previous:1" };
static struct nb_bridge br1 = { .name = "fifteen-bytes-x" };
static struct nb_element web = { .bridge = "br0",
				 .protocol = IPPROTO_TCP,
				 .port = 80,
				 .target = { 0x7f000001, 8080 },
				 .packets = 3,
				 .bytes = 180 };
static struct nb_element dns = { .bridge = "fifteen-bytes-x",
				 .protocol = IPPROTO_UDP,
				 .port = 53,
				 .target = { 0x7f000035, 53 },
				 .expires = NOW + 90000,
				 .comment = runtime };
static struct nb_input_chain ip = {
	.family = NFPROTO_IPV4, .table = filter, .name = input, .iptables = true
};
static struct nb_input_chain inet = { .family = NFPROTO_INET, .table = filter, .name = input };

static const struct nb_op everything[] = {
	{ NB_OP_TABLE_DELETE, { NULL } },
	{ NB_OP_TABLE_CREATE, { NULL } },
	{ NB_OP_BRIDGE_ADD, { .bridge = &br0 } },
	{ NB_OP_BRIDGE_ADD, { .bridge = &br1 } },
	{ NB_OP_TARGET_ADD, { .element = &web } },
	{ NB_OP_TARGET_ADD, { .element = &dns } },
	{ NB_OP_ACCEPTED_ADD, { .element = &web } },
	{ NB_OP_ACCEPTED_ADD, { .element = &dns } },
	{ NB_OP_OPENER_INSERT, { .opener = { &ip, 0 } } },
	{ NB_OP_OPENER_INSERT, { .opener = { &inet, 0 } } },
	{ NB_OP_OPENER_DELETE, { .opener = { &ip, 7 } } },
	{ NB_OP_TARGET_DELETE, { .element = &web } },
	{ NB_OP_ACCEPTED_DELETE, { .element = &web } },
	{ NB_OP_BRIDGE_DELETE, { .bridge = &br0 } },
};

/* The batch as text: a label, then the bytes of the message, 32 a line. */
static void write_batch(FILE *out)
{
	const struct nlmsghdr *message;
	char label[128];

	for (unsigned int i = 0; (message = fake_message(fake.batch, fake.batch_length, i)) != NULL;
	     i++) {
		const uint8_t *bytes = (const uint8_t *)message;

		fprintf(out, "# %u %s\n", i, fake_label(message, label, sizeof(label)));
		for (uint32_t j = 0; j < message->nlmsg_len; j++)
			fprintf(out, "%02x%s", bytes[j],
				j % 32 == 31 || j + 1 == message->nlmsg_len ? "\n" : "");
	}
}

START_TEST(bytes_are_golden)
{
	static char golden[65536];
	char *text = NULL, *mine, *theirs;
	size_t size;
	FILE *out;

	if (htonl(1) == 1)
		return; /* marks and registers are in the machine's byte order */
	fake_reset();
	/* what it is about does not matter here: the bytes do */
	fake.fail_at = 1;
	fake.number = -EPERM;
	ck_assert_int_eq(commit(everything, COUNT(everything), NOW), -EPERM);
	out = open_memstream(&text, &size);
	write_batch(out);
	fclose(out);

	if (getenv("NB_GOLDEN_WRITE")) {
		out = fopen(NB_GOLDEN "/batch.hex", "w");
		ck_assert_ptr_nonnull(out);
		fputs(text, out);
		fclose(out);
	}
	out = fopen(NB_GOLDEN "/batch.hex", "r");
	ck_assert_ptr_nonnull(out);
	ck_assert_uint_lt(fread(golden, 1, sizeof(golden) - 1, out), sizeof(golden) - 1);
	fclose(out);
	/* message by message, so that a failure shows which one */
	mine = text;
	theirs = golden;
	while (*mine && *theirs) {
		char *my_end = strstr(mine, "\n#"), *their_end = strstr(theirs, "\n#");

		if (my_end)
			*my_end = '\0';
		if (their_end)
			*their_end = '\0';
		ck_assert_str_eq(mine, theirs);
		mine = my_end ? my_end + 1 : mine + strlen(mine);
		theirs = their_end ? their_end + 1 : theirs + strlen(theirs);
		if (my_end)
			*mine = '#';
		if (their_end)
			*theirs = '#';
	}
	ck_assert_str_eq(mine, theirs);
	free(text);
	fake_reset();
}
END_TEST

START_TEST(a_batch_is_bound_and_acknowledged_once)
{
	const struct nlmsghdr *message;
	uint32_t sequence = 0;
	unsigned int i;

	fake_reset();
	fake.fail_at = 1;
	fake.number = -EPERM;
	ck_assert_int_eq(commit(everything, COUNT(everything), NOW), -EPERM);
	message = fake_message(fake.batch, fake.batch_length, 0);
	ck_assert_uint_eq(message->nlmsg_type, NFNL_MSG_BATCH_BEGIN);
	ck_assert_uint_eq(ntohl(mnl_attr_get_u32(
				  mnl_nlmsg_get_payload_offset(message, sizeof(struct nfgenmsg)))),
			  GENERATION);
	for (i = 0; (message = fake_message(fake.batch, fake.batch_length, i)) != NULL; i++) {
		bool end = message->nlmsg_type == NFNL_MSG_BATCH_END;

		/* one for each message would overflow the receive buffer */
		ck_assert_int_eq((message->nlmsg_flags & NLM_F_ACK) != 0, end);
		ck_assert(message->nlmsg_flags & NLM_F_REQUEST);
		ck_assert(i == 0 || message->nlmsg_seq == sequence + 1);
		sequence = message->nlmsg_seq;
		ck_assert(!end || !fake_message(fake.batch, fake.batch_length, i + 1));
	}
	ck_assert_uint_gt(i, 40);
	fake_reset();
}
END_TEST

/* The message of the last batch that has this label, from 0. */
static unsigned int find_message(const char *label)
{
	const struct nlmsghdr *message;
	char buffer[128];

	for (unsigned int i = 0; (message = fake_message(fake.batch, fake.batch_length, i)) != NULL;
	     i++)
		if (strcmp(fake_label(message, buffer, sizeof(buffer)), label) == 0)
			return i;
	ck_abort_msg("no message %s", label);
}

START_TEST(refusals_name_the_operation)
{
	static const struct {
		const char *label; /* NULL: no acknowledgement */
		int element;
		int number, result;
		const char *words;
		const char *code;
	} rows[] = {
		{ "+table nat-bridge", -1, -EPERM, -EPERM,
		  "create table inet nat-bridge: not permitted: run it as root", "permission" },
		{ "+chain nat-bridge guard", -1, -EOPNOTSUPP, -EOPNOTSUPP,
		  "create table inet nat-bridge: this kernel lacks a feature", "unsupported" },
		{ "+rule nat-bridge spoofed", -1, -ENOENT, -EAGAIN,
		  "create table inet nat-bridge: another program", "busy" },
		{ "-table nat-bridge", -1, -ENOENT, -EAGAIN, "delete table inet nat-bridge",
		  "busy" },
		{ "+elem nat-bridge bridges", 0, -EPERM, -EPERM, "guard bridge br0: not", NULL },
		{ "+elem nat-bridge bridges", 1, -EINVAL, -EINVAL,
		  "guard bridge fifteen-bytes-x: Invalid argument", "kernel" },
		{ "+elem nat-bridge targets", 0, -EEXIST, -EAGAIN,
		  "add mapping br0 80/tcp to 127.0.0.1:8080: another program", "busy" },
		{ "+elem nat-bridge targets", 1, -EEXIST, -EAGAIN,
		  "add mapping fifteen-bytes-x 53/udp to 127.0.0.53:53: another program", "busy" },
		{ "+elem nat-bridge accepted", 1, -ENOMEM, -ENOMEM,
		  "add mapping fifteen-bytes-x 53/udp to 127.0.0.53:53: the kernel is out of",
		  "kernel" },
		/* no offset: the first one */
		{ "+elem nat-bridge targets", -1, -ENOSPC, -ENOSPC,
		  "add mapping br0 80/tcp to 127.0.0.1:8080: No space", "kernel" },
		{ "-elem nat-bridge targets", 0, -ENOENT, -EAGAIN,
		  "remove mapping br0 80/tcp to 127.0.0.1:8080", "busy" },
		{ "-elem nat-bridge bridges", 0, -ENOENT, -EAGAIN, "release bridge br0", "busy" },
		{ "+rule filter INPUT", -1, -ENOENT, -ENOENT,
		  "insert the accept rule in chain ip filter INPUT: something that it refers to",
		  "kernel" },
		{ "-rule filter INPUT", -1, -ENOENT, -EAGAIN,
		  "delete the accept rule in chain ip filter INPUT: another", "busy" },
		{ "begin", -1, -ERESTART, -EAGAIN, "change the ruleset: another program", "busy" },
		{ "begin", -1, -EBUSY, -EAGAIN, "change the ruleset: another program", "busy" },
		{ "begin", -1, -EPERM, -EPERM, "change the ruleset: not permitted", "permission" },
		{ "begin", -1, -ENOENT, -ENOENT, "change the ruleset", "kernel" },
		{ NULL, -2, -EMSGSIZE, -EMSGSIZE,
		  "change the ruleset: the change is larger than the socket buffer allows",
		  "kernel" },
		{ NULL, -2, -EINPROGRESS, -EINPROGRESS, "change the ruleset: the kernel's answer",
		  "busy" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		int r;

		fake_reset();
		fake.fail_at = 1;
		fake.number = -EPERM;
		commit(everything, COUNT(everything), NOW);
		fake.number = rows[i].number;
		fake.fail_message = rows[i].label ? find_message(rows[i].label) : 0;
		fake.fail_element = rows[i].element;
		r = commit(everything, COUNT(everything), NOW);
		ck_assert_msg(r == rows[i].result, "row %zu: %d, %s", i, r, err.message);
		ck_assert_msg(strncmp(err.message, rows[i].words, strlen(rows[i].words)) == 0,
			      "row %zu: %s", i, err.message);
		if (rows[i].code)
			ck_assert_str_eq(err.code, rows[i].code);
		ck_assert_int_eq(err.status, NB_STATUS_FAILED);
	}
	fake_reset();
}
END_TEST

START_TEST(one_of_thousands_is_named)
{
	enum { COUNT_OF_PORTS = 2500 };
	static struct nb_element elements[COUNT_OF_PORTS];
	static struct nb_op ops[1 + COUNT_OF_PORTS];
	const struct nlmsghdr *message;
	unsigned int messages = 0;
	size_t first = 0;

	ops[0] = (struct nb_op){ .kind = NB_OP_TABLE_CREATE };
	for (size_t i = 0; i < COUNT_OF_PORTS; i++) {
		elements[i] = web;
		elements[i].port = (uint16_t)(1 + i);
		ops[1 + i] = (struct nb_op){ .kind = NB_OP_TARGET_ADD, .element = &elements[i] };
	}
	fake_reset();
	ck_assert_int_eq(commit(ops, COUNT(ops), NOW), 0);
	for (unsigned int i = 0; (message = fake_message(fake.batch, fake.batch_length, i)) != NULL;
	     i++) {
		char label[128], words[128];
		size_t count = 0;
		struct nlattr *list, *attr;

		/* nested attributes end at 65535 */
		ck_assert_uint_lt(message->nlmsg_len, 65536);
		fake_label(message, label, sizeof(label));
		if (strcmp(label, "+elem nat-bridge targets") != 0)
			continue;
		messages++;
		mnl_attr_for_each(list, message, sizeof(struct nfgenmsg))
			if (mnl_attr_get_type(list) == NFTA_SET_ELEM_LIST_ELEMENTS)
				mnl_attr_for_each_nested(attr, list)
					count++;
		/* the first, the second and the last of each message */
		for (int which = 0; which < 3; which++) {
			size_t index = which < 2 ? (size_t)which : count - 1;
			char *batch = fake.batch;
			size_t length = fake.batch_length;

			fake.batch = NULL;
			fake.fail_at = 1;
			fake.number = -EINVAL;
			fake.fail_message = i;
			fake.fail_element = (int)index;
			ck_assert_int_eq(commit(ops, COUNT(ops), NOW), -EINVAL);
			snprintf(words, sizeof(words),
				 "add mapping br0 %zu/tcp to 127.0.0.1:8080:", first + index + 1);
			ck_assert_msg(strncmp(err.message, words, strlen(words)) == 0, "%s: %s",
				      words, err.message);
			free(fake.batch);
			fake.batch = batch;
			fake.batch_length = length;
		}
		first += count;
	}
	ck_assert_uint_eq(first, COUNT_OF_PORTS);
	ck_assert_uint_gt(messages, 2);
	fake_reset();
}
END_TEST

START_TEST(verbs_and_sets_do_not_mix)
{
	static const struct nb_op mixed[] = {
		{ NB_OP_TABLE_CREATE, { NULL } },
		{ NB_OP_TARGET_ADD, { .element = &web } },
		{ NB_OP_ACCEPTED_ADD, { .element = &web } },
		{ NB_OP_TARGET_DELETE, { .element = &web } },
		{ NB_OP_TARGET_ADD, { .element = &web } },
		{ NB_OP_BRIDGE_ADD, { .bridge = &br0 } },
	};

	fake_reset();
	ck_assert_int_eq(commit(mixed, COUNT(mixed), NOW), 0);
	ck_assert_str_eq(fake.log, "batch +table +targets +accepted -targets +targets +bridges; ");
	/* and an empty one is well formed */
	ck_assert_int_eq(commit(NULL, 0, NOW), 0);
	fake_reset();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ruleset_batch");

	unit_add(suite, "bytes_are_golden", bytes_are_golden);
	unit_add(suite, "bound_and_acknowledged", a_batch_is_bound_and_acknowledged_once);
	unit_add(suite, "refusals_name_the_operation", refusals_name_the_operation);
	unit_add(suite, "one_of_thousands", one_of_thousands_is_named);
	unit_add(suite, "verbs_and_sets", verbs_and_sets_do_not_mix);
	return unit_run(suite);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What reaches the kernel, and in which order. Only the two functions that
 * talk to netlink are replaced, so the code that ends flows is the real one here;
 * test_plan_execute.c has a kernel that remembers what it was told.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <netinet/in.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include "recorder.h"
#include "unit.h"
#include "world.h"

#define MARK UINT32_C(0x10000000)

static struct nb_netlink *nl;
static struct nb_outcome outcome;

static void set_up(void)
{
	memset(&script, 0, sizeof(script));
	nl = nb_netlink_new();
	ck_assert_ptr_nonnull(nl);
	script.nl = nl;
}

/* Execute the plan of @world with a fault at exchange @fail_at, 0: none. */
static int execute(struct world *world, unsigned int fail_at, int number)
{
	memset(&outcome, 0, sizeof(outcome));
	memset(&world->err, 0, sizeof(world->err));
	script.log[0] = '\0';
	script.exchanges = 0;
	script.fail_at = fail_at;
	script.number = number;
	return nb_plan_execute(nl, &world->plan, &world->state, MARK, &outcome, &world->warnings,
			       &world->err);
}

static int run(struct world *world, unsigned int fail_at, int number)
{
	planned(world);
	return execute(world, fail_at, number);
}

static void tear_down(struct world *world)
{
	world_clear(world);
	nb_netlink_free(nl);
}

/* br8 is an orphan; br9 gets 53/udp; 80/tcp of br0, its last, goes. */
static void everything_at_once(struct world *world)
{
	world->state.generation = 7;
	world->state.table = NB_TABLE_SOUND;
	has_link(world, "br0", 3, 1, NB_TAG_MAGIC);
	has_bridge(world, "br0", "iface:br0");
	has_mapping(world, "br0", IPPROTO_TCP, 80, 80);
	has_link(world, "br8", 8, 1, NB_TAG_MAGIC);
	has_link(world, "br9", 9, 0, 0);
	wants(world, "br9", "iface:br9", IPPROTO_UDP, 53, 53);
}

static const struct {
	const char *log;
	const char *failure; /* how its message begins; NULL: a warning, and on it goes */
} all_steps[] = {
	{ "set 8 0 0; ", "set route_localnet=0 of br8: " },
	{ "batch 7; ", "change the ruleset: " },
	{ "set 9 1 6e620000; ", "set route_localnet=1 of br9: " },
	{ "untranslated; ", "read the tracked connections: " },
	{ "translated; ", "read the tracked connections: " },
	{ "route; ", "look up a route: " },
	{ "sockets; ", NULL },
	{ "sockets; ", NULL },
	{ "delete; ", "" },
	{ "translated; ", "read the tracked connections: " },
	{ "set 3 0 0; ", "set route_localnet=0 of br0: " },
	{ "batch 8; ", "change the ruleset: " },
};

static const char *log_of(size_t count)
{
	static char text[sizeof(script.log)];

	text[0] = '\0';
	for (size_t i = 0; i < count; i++)
		strcat(text, all_steps[i].log);
	return text;
}

START_TEST(all_steps_in_order)
{
	struct world w = { 0 };

	set_up();
	everything_at_once(&w);
	script.flow = true;
	ck_assert_int_eq(run(&w, 0, 0), 0);
	ck_assert_str_eq(script.log, log_of(COUNT(all_steps)));
	ck_assert(outcome.changed && outcome.committed);
	ck_assert_uint_eq(outcome.generation, 9);
	ck_assert_uint_eq(w.warnings.count, 0);
	tear_down(&w);

	/* with nothing to do nobody is asked */
	set_up();
	has_usual(&w);
	wants_usual(&w);
	ck_assert_int_eq(run(&w, 0, 0), 0);
	ck_assert_str_eq(script.log, "");
	ck_assert(!outcome.changed && !outcome.committed);
	ck_assert_uint_eq(outcome.generation, 7);
	tear_down(&w);
}
END_TEST

START_TEST(nothing_follows_a_failure)
{
	for (unsigned int at = 1; at <= COUNT(all_steps); at++) {
		const char *failure = all_steps[at - 1].failure;
		struct world w = { 0 };

		set_up();
		everything_at_once(&w);
		script.flow = true;
		ck_assert_int_eq(run(&w, at, -EPERM), failure ? -EPERM : 0);
		if (!failure) {
			/* conntrack and the ruleset end the flow, too. The first refusal is enough */
			ck_assert_uint_eq(w.warnings.count, 1);
			ck_assert_ptr_nonnull(strstr(w.warnings.items[0], "list the TCP sockets"));
			ck_assert_ptr_nonnull(strstr(script.log, "delete; translated; set 3 0 0; "
								 "batch 8; "));
			tear_down(&w);
			continue;
		}
		ck_assert_str_eq(script.log, log_of(at));
		ck_assert_msg(strncmp(w.err.message, failure, strlen(failure)) == 0, "%u: %s", at,
			      w.err.message);
		ck_assert_str_eq(w.err.code, "permission");
		ck_assert_int_eq(w.err.status, NB_STATUS_FAILED);
		ck_assert_int_eq(w.err.number, EPERM);
		ck_assert_int_eq(outcome.changed, at > 1);
		ck_assert_int_eq(outcome.committed, at > 2);
		/* only a plan that was carried out knows its generation */
		ck_assert_uint_eq(outcome.generation, 0);
		tear_down(&w);
	}
}
END_TEST

START_TEST(conflicts_and_lost_answers)
{
	static const struct {
		unsigned int at;
		int number, result;
		bool committed;
	} rows[] = {
		{ 2, -ERESTART, -EAGAIN, false },   { 2, -EBUSY, -EAGAIN, false },
		{ 2, -EINPROGRESS, -EAGAIN, true }, { 2, -ENOBUFS, -ENOBUFS, false },
		{ 12, -ERESTART, -EAGAIN, true },   { 12, -EINPROGRESS, -EAGAIN, true },
		{ 12, -ENOMEM, -ENOMEM, true },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct world w = { 0 };

		set_up();
		everything_at_once(&w);
		script.flow = true;
		ck_assert_int_eq(run(&w, rows[i].at, rows[i].number), rows[i].result);
		ck_assert_str_eq(script.log, log_of(rows[i].at));
		ck_assert_int_eq(outcome.committed, rows[i].committed);
		ck_assert(outcome.changed); /* br8 was closed */
		if (rows[i].result == -EAGAIN)
			ck_assert_str_eq(w.err.code, "busy");
		tear_down(&w);
	}
}
END_TEST

START_TEST(one_of_many_elements_is_named)
{
	enum { PORTS = 3000 };
	static const struct {
		uint16_t command;
		const char *set, *verb;
		int number, result;
		const char *code;
	} rows[] = {
		{ NFT_MSG_NEWSETELEM, "targets", "add", -EEXIST, -EAGAIN, "busy" },
		{ NFT_MSG_NEWSETELEM, "accepted", "add", -EEXIST, -EAGAIN, "busy" },
		{ NFT_MSG_NEWSETELEM, "accepted", "add", -EPERM, -EPERM, "permission" },
		{ NFT_MSG_DELSETELEM, "targets", "remove", -ENOENT, -EAGAIN, "busy" },
		{ NFT_MSG_DELSETELEM, "accepted", "remove", -ENOENT, -EAGAIN, "busy" },
	};
	static const unsigned int places[] = { 0, 1, 17, 40 };
	struct world w = { 0 };

	set_up();
	w.state.generation = 7;
	w.state.table = NB_TABLE_SOUND;
	has_link(&w, "br0", 3, 1, NB_TAG_MAGIC);
	has_bridge(&w, "br0", "iface:br0");
	for (unsigned int port = 1; port <= PORTS; port++) {
		has_mapping(&w, "br0", IPPROTO_TCP, port, 8080);
		wants(&w, "br0", "iface:br0", IPPROTO_TCP, 10000 + port, 8080);
	}
	/* planned() has no room for the text of so many */
	nb_element_list_sort(&w.state.targets);
	nb_element_list_sort(&w.state.accepted);
	nb_desired_finish(&w.desired);
	ck_assert_int_eq(nb_plan_make(&w.desired, &w.state, false, &w.plan, NULL, &w.err), 0);
	for (size_t i = 0; i < COUNT(rows); i++) {
		bool add = rows[i].command == NFT_MSG_NEWSETELEM;

		for (size_t j = 0; j < COUNT(places) * 2; j++) {
			char words[96];

			script.command = rows[i].command;
			script.set = rows[i].set;
			script.message = 0;
			script.element = places[j / 2];
			script.inside = j % 2;
			ck_assert_int_eq(execute(&w, 1, rows[i].number), rows[i].result);
			snprintf(words, sizeof(words),
				 "%s mapping br0 %u/tcp to 127.0.0.1:8080: ", rows[i].verb,
				 script.element + (add ? 10001 : 1));
			ck_assert_msg(strncmp(w.err.message, words, strlen(words)) == 0,
				      "%s instead of %s", w.err.message, words);
			ck_assert_str_eq(w.err.code, rows[i].code);
			ck_assert(!outcome.changed && !outcome.committed);
		}
	}

	/* a second message begins where the first one ended */
	script.command = NFT_MSG_NEWSETELEM;
	script.set = "targets";
	script.message = 1;
	script.element = 0;
	script.words = "File exists";
	ck_assert_int_eq(execute(&w, 1, -ENOSPC), -ENOSPC);
	ck_assert_ptr_nonnull(strstr(w.err.message, " (kernel: File exists)"));
	ck_assert_ptr_null(strstr(w.err.message, " 10001/tcp "));
	tear_down(&w);
}
END_TEST

START_TEST(gone_devices_stop_nobody)
{
	struct world w = { 0 };

	set_up();
	everything_at_once(&w);
	script.flow = true;
	script.gone_for_ever = true;
	ck_assert_int_eq(run(&w, 0, 0), 0);
	ck_assert_str_eq(script.log, log_of(COUNT(all_steps)));
	ck_assert_str_eq(outcome.vanished, "br9");
	tear_down(&w);
}
END_TEST

/* Plans that differ from a simpler one only in a corner. */

START_TEST(guards_of_damaged_tables_are_not_tolerated)
{
	struct world w = { 0 };

	set_up();
	has_usual(&w);
	w.state.table = NB_TABLE_DAMAGED;
	w.state.targets.count = w.state.accepted.count = 0;
	ck_assert_int_eq(nb_desired_tolerate(&w.desired, "br0"), 0);
	ck_assert_int_eq(run(&w, 0, 0), 0);
	ck_assert_str_eq(w.text, "first -table +table +B:br0(iface:br0) | ended 3:0>0 | restore "
				 "br0 0 0 | second -table");
	ck_assert_str_eq(script.log, "batch 7; translated; set 3 0 0; batch 8; ");
	tear_down(&w);
}
END_TEST

START_TEST(previous_values_in_corners)
{
	struct nb_mapping mapping = mapping_of("iface:br0", IPPROTO_TCP, 80, 80);
	struct world w = { 0 };

	/* a value wider than its place in the tag never touches our mark */
	set_up();
	has_link(&w, "br0", 3, 0x12345, 0);
	wants(&w, "br0", "iface:br0", IPPROTO_TCP, 80, 80);
	ck_assert_int_eq(run(&w, 0, 0), 0);
	ck_assert_str_eq(script.log, "batch 0; set 3 1 6e622345; ");
	world_clear(&w);

	/* the device is away: its guard goes on remembering, and nothing is sent */
	w.state.table = NB_TABLE_SOUND;
	has_bridge(&w, "br0", "iface:br0/previous:1");
	has_mapping(&w, "br0", IPPROTO_TCP, 80, 80);
	ck_assert_int_eq(nb_desired_add_pending(&w.desired, "br0", &mapping), 0);
	ck_assert_int_eq(run(&w, 0, 0), 0);
	ck_assert_str_eq(script.log, "");
	world_clear(&w);

	/* somebody else's tag is said also when nothing is left to set */
	has_link(&w, "br0", 3, 1, 0x12345678);
	wants(&w, "br0", "iface:br0", IPPROTO_TCP, 80, 80);
	ck_assert_int_eq(run(&w, 0, 0), 0);
	ck_assert_str_eq(script.log, "batch 0; ");
	ck_assert_uint_eq(w.warnings.count, 1);
	ck_assert_ptr_nonnull(strstr(w.warnings.items[0], "0x12345678"));
	tear_down(&w);
}
END_TEST

START_TEST(openers_of_partial_states)
{
	struct world w = { 0 };
	struct nb_input_chain *chain;

	/* chains are read whole, so what is wrong with openers is mended ... */
	set_up();
	has_usual(&w);
	w.state.partial = true;
	chain = has_chain(&w, NFPROTO_IPV4, "filter", "INPUT", true, 9);
	has_extra(chain, 12);
	wants_usual(&w);
	ck_assert_int_eq(run(&w, 0, 0), 0);
	ck_assert_str_eq(w.text, "first -O:ip.filter.INPUT#12");
	ck_assert_str_eq(script.log, "batch 7; ");
	/* ... but that nothing asked about is wanted says nothing of the others */
	nb_desired_clear(&w.desired);
	w.state.targets.count = w.state.accepted.count = 0;
	ck_assert_int_eq(run(&w, 0, 0), 0);
	ck_assert_str_eq(script.log, "");
	tear_down(&w);
}
END_TEST

/* Reading, and the words of refusals */

START_TEST(generations_of_a_reading)
{
	static const uint32_t same[] = { 5, 5 }, changed[] = { 5, 6 }, none[] = { 0 };
	struct nb_state state;
	struct nb_error err;

	set_up();
	script.generations = same;
	script.generation_count = 2;
	ck_assert_int_eq(nb_state_read(nl, MARK, NULL, 0, &state, &err), 0);
	ck_assert_str_eq(script.log, "generation; dump; dump; links; qdiscs; generation; ");
	ck_assert_uint_eq(state.generation, 5);
	nb_state_clear(&state);

	script.generations = changed;
	script.generation_count = 2;
	ck_assert_int_eq(nb_state_read(nl, MARK, NULL, 0, &state, &err), -EAGAIN);
	ck_assert_str_eq(err.code, "busy");
	nb_state_clear(&state);

	/* 0, which would switch the kernel's check off, and no answer at all */
	for (size_t count = 0; count < 2; count++) {
		script.generations = none;
		script.generation_count = count;
		ck_assert_int_eq(nb_state_read(nl, MARK, NULL, 0, &state, &err), -EPROTONOSUPPORT);
		ck_assert_str_eq(err.code, "unsupported");
		nb_state_clear(&state);
	}
	script.exchanges = 0;
	script.fail_at = 1;
	script.number = -EINVAL;
	ck_assert_int_eq(nb_state_read(nl, MARK, NULL, 0, &state, &err), -EPROTONOSUPPORT);
	ck_assert_str_eq(err.code, "unsupported");
	nb_state_clear(&state);
	script.exchanges = 0;
	script.number = -EPERM;
	script.words = "no";
	ck_assert_int_eq(nb_state_read(nl, MARK, NULL, 0, &state, &err), -EPERM);
	ck_assert_str_eq(err.code, "permission");
	ck_assert_ptr_nonnull(strstr(err.message, "as root"));
	ck_assert_ptr_nonnull(strstr(err.message, " (kernel: no)"));
	nb_state_clear(&state);
	nb_netlink_free(nl);
}
END_TEST

START_TEST(refusals_in_words)
{
	static const struct {
		int number;
		const char *code, *message;
	} rows[] = {
		{ ERESTART, "busy", "do it: another program kept changing the ruleset: try again" },
		{ EPERM, "permission",
		  "do it: not permitted: run it as root, or with CAP_NET_ADMIN in this network "
		  "namespace" },
		{ EACCES, "permission",
		  "do it: not permitted: run it as root, or with CAP_NET_ADMIN in this network "
		  "namespace" },
		{ EOPNOTSUPP, "unsupported",
		  "do it: this kernel lacks a feature that is needed (5.10 is the oldest that "
		  "works)" },
		{ ENODEV, "kernel", "do it: the device does not exist (any more)" },
		{ EINPROGRESS, "busy", "do it: the kernel's answer was lost: try again" },
		{ EEXIST, "conflict", "do it: it exists already with another content" },
		{ ERANGE, "kernel", "do it: Numerical result out of range" },
	};
	struct nb_netlink_ack silent = { .number = EPERM };
	struct nb_netlink_ack talking = { .message = "Chain of type \"nat\" is not supported" };

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct nb_error err;
		char words[256];

		/* negative or positive, with or without an ack */
		for (int sign = -1; sign <= 1; sign += 2) {
			ck_assert_int_eq(nb_netlink_error(&err, sign < 0 ? NULL : &silent,
							  sign * rows[i].number, "do it"),
					 -rows[i].number);
			ck_assert_str_eq(err.message, rows[i].message);
			ck_assert_str_eq(err.code, rows[i].code);
			ck_assert_int_eq(err.number, rows[i].number);
			ck_assert_int_eq(err.status, NB_STATUS_FAILED);
		}
		nb_netlink_error(&err, &talking, -rows[i].number, "do it");
		snprintf(words, sizeof(words), "%s (kernel: %s)", rows[i].message, talking.message);
		ck_assert_str_eq(err.message, words);
		ck_assert_str_eq(err.code, rows[i].code);
		ck_assert_int_eq(nb_netlink_error(NULL, &talking, -rows[i].number, "do it"),
				 -rows[i].number);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("execute");

	unit_add(suite, "all_steps_in_order", all_steps_in_order);
	unit_add(suite, "nothing_follows_a_failure", nothing_follows_a_failure);
	unit_add(suite, "conflicts_and_lost_answers", conflicts_and_lost_answers);
	unit_add(suite, "one_of_many_elements", one_of_many_elements_is_named);
	unit_add(suite, "gone_devices", gone_devices_stop_nobody);
	unit_add(suite, "damaged_tables", guards_of_damaged_tables_are_not_tolerated);
	unit_add(suite, "previous_values", previous_values_in_corners);
	unit_add(suite, "openers_of_partial_states", openers_of_partial_states);
	unit_add(suite, "generations_of_a_reading", generations_of_a_reading);
	unit_add(suite, "refusals_in_words", refusals_in_words);
	return unit_run(suite);
}

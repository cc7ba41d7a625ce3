/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Plans carried out on a kernel in memory: the order of exchanges, what is
 * left when one of them fails, and whom an error names.
 */
#include <errno.h>
#include <netinet/in.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <stdio.h>
#include <string.h>

#include "fake_kernel.h"
#include "ruleset/opener.h"
#include "unit.h"
#include "world.h"

#define MARK UINT32_C(0x10000000)

static struct nb_netlink *nl;
static struct nb_outcome outcome;
static struct nb_error err;

static void set_up(void)
{
	fake_reset();
	nl = nb_netlink_new();
	ck_assert_ptr_nonnull(nl);
	memset(&outcome, 0, sizeof(outcome));
}

static void tear_down(void)
{
	nb_netlink_free(nl);
	fake_reset();
}

static void read_state(struct world *world)
{
	nb_plan_clear(&world->plan);
	nb_state_clear(&world->state);
	ck_assert_msg(nb_state_read(nl, MARK, NULL, 0, &world->state, &err) == 0, "%s",
		      err.message);
}

/* Read, plan, execute with the fault at exchange @fail_at of the execution, 0: none. */
static int run(struct world *world, unsigned int fail_at, int number)
{
	int r;

	fake.fail_at = 0;
	read_state(world);
	planned(world);
	memset(&outcome, 0, sizeof(outcome));
	memset(&err, 0, sizeof(err));
	fake.log[0] = '\0';
	fake.exchanges = 0;
	fake.fail_at = fail_at;
	fake.number = number;
	r = nb_plan_execute(nl, &world->plan, &world->state, MARK, &outcome, &world->warnings,
			    &err);
	fake.fail_at = 0;
	return r;
}

/* br0 = 3, br1 = 4, and a chain of iptables that drops. */
static void build_host(void)
{
	fake_add_link("br0", 3, 0, 0);
	fake_add_link("br1", 4, 1, 0);
	fake_add_table(NFPROTO_IPV4, "filter", 0, NULL);
	fake_add_chain(NFPROTO_IPV4, "filter", "INPUT", "filter", NF_INET_LOCAL_IN, 0, NF_DROP);
}

static void want_both(struct world *world)
{
	wants_usual(world);
	wants(world, "br1", "iface:br1", IPPROTO_TCP, 80, 80);
}

#define ADD_LOG                                                           \
	"batch +table +bridges*2 +targets*3 +accepted*3 +opener:filter; " \
	"setlink br0 1 6e620000; setlink br1 1 6e620001; forget 3:53; "

#define REMOVE_LOG                                                                    \
	"batch -targets*3 -accepted*3; end 3:80 3:53 4:80 3:0 4:0; setlink br0 0 0; " \
	"setlink br1 1 0; batch -opener:filter -table; "

START_TEST(there_and_back)
{
	struct world w = { 0 };
	uint32_t generation;

	set_up();
	build_host();
	want_both(&w);
	generation = fake.generation;
	ck_assert_int_eq(run(&w, 0, 0), 0);
	ck_assert_str_eq(fake.log, ADD_LOG);
	ck_assert(outcome.changed && outcome.committed);
	ck_assert_uint_eq(outcome.generation, generation + 1);
	ck_assert_uint_eq(fake.generation, generation + 1);
	ck_assert_str_eq(outcome.vanished, "");

	/* the kernel shows what was sent: nothing to do */
	generation = fake.generation;
	ck_assert_int_eq(run(&w, 0, 0), 0);
	ck_assert_str_eq(w.text, "");
	ck_assert_int_eq(w.state.table, NB_TABLE_SOUND);
	ck_assert_str_eq(fake.log, "");
	ck_assert(!outcome.changed && !outcome.committed);
	ck_assert_uint_eq(outcome.generation, generation);
	ck_assert_uint_eq(fake.generation, generation);

	nb_desired_clear(&w.desired);
	ck_assert_int_eq(run(&w, 0, 0), 0);
	ck_assert_str_eq(fake.log, REMOVE_LOG);
	ck_assert_uint_eq(outcome.generation, generation + 2);
	ck_assert_uint_eq(fake.object_count, 2);
	ck_assert_uint_eq(fake_find_link("br0")->route_localnet, 0);
	ck_assert_uint_eq(fake_find_link("br0")->tag, 0);
	ck_assert_uint_eq(fake_find_link("br1")->route_localnet, 1);
	world_clear(&w);
	tear_down();
}
END_TEST

/* The first @count steps ("a; b; c; ") of @log. */
static const char *steps(const char *log, unsigned int count)
{
	static char buffer[1024];
	const char *end = log;

	while (count--)
		end = strstr(end, "; ") + 2;
	snprintf(buffer, sizeof(buffer), "%.*s", (int)(end - log), log);
	return buffer;
}

START_TEST(nothing_follows_a_failure)
{
	static const struct {
		int number;
		int result; /* of a batch; elsewhere it is the number itself */
		const char *code;
	} faults[] = {
		{ -ERESTART, -EAGAIN, "busy" },
		{ -EPERM, -EPERM, "permission" },
		{ -ENOBUFS, -ENOBUFS, "kernel" },
	};
	static const char *const add_names[] = { "create table inet nat-bridge",
						 "set route_localnet=1 of br0",
						 "set route_localnet=1 of br1",
						 "forget the flows" };
	static const char *const remove_names[] = {
		"remove mapping br0 80/tcp to 127.0.0.1:80", "end the flows",
		"set route_localnet=0 of br0", "set route_localnet=1 of br1",
		"delete the accept rule in chain ip filter INPUT"
	};

	for (size_t f = 0; f < COUNT(faults); f++) {
		for (unsigned int at = 1; at <= 4; at++) {
			struct world w = { 0 };
			bool batch = at == 1;

			set_up();
			build_host();
			want_both(&w);
			fake.fail_message = 1;
			ck_assert_int_eq(run(&w, at, faults[f].number),
					 batch ? faults[f].result : faults[f].number);
			ck_assert_str_eq(fake.log, steps(ADD_LOG, at));
			ck_assert_msg(strncmp(err.message, add_names[at - 1],
					      strlen(add_names[at - 1])) == 0,
				      "%s", err.message);
			ck_assert_str_eq(err.code, faults[f].code);
			ck_assert_int_eq(err.status, NB_STATUS_FAILED);
			ck_assert_int_eq(outcome.committed, !batch);
			ck_assert_int_eq(outcome.changed, !batch);
			/* the same again ends it */
			ck_assert_int_eq(run(&w, 0, 0), 0);
			ck_assert_int_eq(run(&w, 0, 0), 0);
			ck_assert_str_eq(w.text, "");
			world_clear(&w);
			tear_down();
		}
		for (unsigned int at = 1; at <= 5; at++) {
			struct world w = { 0 };
			bool batch = at == 1 || at == 5;

			set_up();
			build_host();
			want_both(&w);
			ck_assert_int_eq(run(&w, 0, 0), 0);
			nb_desired_clear(&w.desired);
			fake.fail_message = 1;
			ck_assert_int_eq(run(&w, at, faults[f].number),
					 batch ? faults[f].result : faults[f].number);
			ck_assert_str_eq(fake.log, steps(REMOVE_LOG, at));
			ck_assert_msg(strncmp(err.message, remove_names[at - 1],
					      strlen(remove_names[at - 1])) == 0,
				      "%s", err.message);
			ck_assert_int_eq(outcome.committed, at > 1);
			ck_assert_int_eq(run(&w, 0, 0), 0);
			ck_assert_uint_eq(fake.object_count, 2);
			ck_assert_uint_eq(fake_find_link("br0")->tag, 0);
			world_clear(&w);
			tear_down();
		}
	}
}
END_TEST

START_TEST(vanished_devices)
{
	struct world w = { 0 };

	/* gone when it is to be enabled: named, and the others go on */
	set_up();
	build_host();
	want_both(&w);
	ck_assert_int_eq(run(&w, 2, -ENODEV), 0);
	ck_assert_str_eq(fake.log, ADD_LOG);
	ck_assert_str_eq(outcome.vanished, "br0");
	ck_assert_uint_eq(fake_find_link("br1")->tag, NB_TAG_MAGIC | 1);

	/* gone when it is to be restored: no event */
	ck_assert_int_eq(run(&w, 0, 0), 0);
	nb_desired_clear(&w.desired);
	ck_assert_int_eq(run(&w, 3, -ENODEV), 0);
	ck_assert_str_eq(fake.log, REMOVE_LOG);
	ck_assert_str_eq(outcome.vanished, "");
	world_clear(&w);

	/* gone when it is to be closed */
	fake_find_link("br0")->tag = NB_TAG_MAGIC;
	ck_assert_int_eq(run(&w, 1, -ENODEV), 0);
	ck_assert_str_eq(fake.log, "setlink br0 0 0; end 3:0; ");
	ck_assert(!outcome.changed);
	world_clear(&w);
	tear_down();
}
END_TEST

START_TEST(orphans_are_closed_before_anything_else)
{
	struct world w = { 0 };

	set_up();
	build_host();
	fake_find_link("br0")->tag = NB_TAG_MAGIC;
	fake_find_link("br0")->route_localnet = 1;
	want_both(&w);
	ck_assert_int_eq(run(&w, 1, -EPERM), -EPERM);
	ck_assert_str_eq(fake.log, "setlink br0 0 0; ");
	ck_assert(!outcome.changed);
	ck_assert_int_eq(run(&w, 2, -EPERM), -EPERM);
	ck_assert_str_eq(fake.log, "setlink br0 0 0; batch +table +bridges*2 +targets*3 "
				   "+accepted*3 +opener:filter; ");
	ck_assert(outcome.changed && !outcome.committed);
	world_clear(&w);
	tear_down();
}
END_TEST

START_TEST(moved_bridge)
{
	struct world w = { 0 };

	set_up();
	build_host();
	wants(&w, "br0", "docker:web", IPPROTO_TCP, 80, 80);
	ck_assert_int_eq(run(&w, 0, 0), 0);
	nb_desired_clear(&w.desired);
	wants(&w, "br1", "docker:web", IPPROTO_TCP, 80, 80);
	ck_assert_int_eq(run(&w, 0, 0), 0);
	/* the old guard falls last */
	ck_assert_str_eq(fake.log,
			 "batch +bridges -targets -accepted +targets +accepted; setlink br1 1 "
			 "6e620001; end 3:80 3:0; setlink br0 0 0; batch -bridges; ");
	ck_assert_int_eq(run(&w, 0, 0), 0);
	ck_assert_str_eq(w.text, "");
	world_clear(&w);
	tear_down();
}
END_TEST

static void somebody_commits(void)
{
	fake.generation++;
}

START_TEST(stale_generations)
{
	struct world w = { 0 };

	/* between reading and the first batch */
	set_up();
	build_host();
	want_both(&w);
	fake.hook = somebody_commits;
	fake.hook_at = 1;
	read_state(&w);
	fake.hook_at = 0;
	planned(&w);
	fake.exchanges = 0;
	fake.hook_at = 1;
	ck_assert_int_eq(nb_plan_execute(nl, &w.plan, &w.state, MARK, &outcome, NULL, &err),
			 -EAGAIN);
	ck_assert(!outcome.changed && !outcome.committed);
	ck_assert_str_eq(err.code, "busy");
	ck_assert_ptr_nonnull(strstr(err.message, "change the ruleset: another program kept"));

	/* between the two batches: after the first one only forward */
	fake.hook_at = 0;
	ck_assert_int_eq(run(&w, 0, 0), 0);
	nb_desired_clear(&w.desired);
	fake.hook_at = 5;
	ck_assert_int_eq(run(&w, 0, 0), -EAGAIN);
	ck_assert_str_eq(fake.log, REMOVE_LOG);
	ck_assert(outcome.committed);
	fake.hook_at = 0;
	ck_assert_int_eq(run(&w, 0, 0), 0);
	ck_assert_str_eq(fake.log, "end 3:0 4:0; batch -opener:filter -table; ");
	world_clear(&w);
	tear_down();
}
END_TEST

START_TEST(lost_answers)
{
	struct world w = { 0 };

	set_up();
	build_host();
	want_both(&w);
	fake.lose_answer = true;
	ck_assert_int_eq(run(&w, 0, 0), -EAGAIN);
	ck_assert_str_eq(fake.log, steps(ADD_LOG, 1));
	ck_assert(outcome.changed && outcome.committed);
	/* it had happened: another look finds only the rest to do */
	fake.lose_answer = false;
	ck_assert_int_eq(run(&w, 0, 0), 0);
	ck_assert_str_eq(fake.log, "setlink br0 1 6e620000; setlink br1 1 6e620001; ");
	world_clear(&w);
	tear_down();
}
END_TEST

START_TEST(expiry_between_reading_and_batch)
{
	struct world w = { 0 };

	set_up();
	build_host();
	want_both(&w);
	ck_assert_int_eq(run(&w, 0, 0), 0);
	nb_desired_clear(&w.desired);
	read_state(&w);
	planned(&w);
	/* no generation changes: the deletion alone tells */
	ck_assert_uint_eq(fake_expire("targets", "br1"), 1);
	ck_assert_int_eq(nb_plan_execute(nl, &w.plan, &w.state, MARK, &outcome, NULL, &err),
			 -EAGAIN);
	ck_assert_str_eq(err.code, "busy");
	ck_assert_ptr_nonnull(strstr(err.message, "remove mapping br1 80/tcp to 127.0.0.1:80"));
	ck_assert_int_eq(run(&w, 0, 0), 0);
	ck_assert_uint_eq(fake.object_count, 2);
	world_clear(&w);
	tear_down();
}
END_TEST

START_TEST(damaged_tables_are_replaced)
{
	struct world w = { 0 };

	set_up();
	build_host();
	want_both(&w);
	ck_assert_int_eq(run(&w, 0, 0), 0);
	fake_delete_rule(NFPROTO_INET, NB_TABLE_NAME, "guard", 0);
	ck_assert_int_eq(run(&w, 0, 0), 0);
	ck_assert_int_eq(w.state.table, NB_TABLE_DAMAGED);
	ck_assert_str_eq(fake.log, "batch -table +table +bridges*2 +targets*3 +accepted*3; ");
	ck_assert_int_eq(run(&w, 0, 0), 0);
	ck_assert_str_eq(w.text, "");
	/* a flush of everything of ours: closed, guarded, opened again */
	fake_delete_table(NFPROTO_INET, NB_TABLE_NAME);
	ck_assert_int_eq(run(&w, 0, 0), 0);
	ck_assert_str_eq(fake.log,
			 "setlink br0 0 0; setlink br1 1 0; batch +table +bridges*2 +targets*3 "
			 "+accepted*3; setlink br0 1 6e620000; setlink br1 1 6e620001; forget "
			 "3:53; end 3:0 4:0 not 3:80 not 3:53 not 4:80; ");
	world_clear(&w);
	tear_down();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("plan_execute");

	unit_add(suite, "there_and_back", there_and_back);
	unit_add(suite, "nothing_follows_a_failure", nothing_follows_a_failure);
	unit_add(suite, "vanished_devices", vanished_devices);
	unit_add(suite, "orphans_are_closed", orphans_are_closed_before_anything_else);
	unit_add(suite, "moved_bridge", moved_bridge);
	unit_add(suite, "stale_generations", stale_generations);
	unit_add(suite, "lost_answers", lost_answers);
	unit_add(suite, "expiry", expiry_between_reading_and_batch);
	unit_add(suite, "damaged_tables", damaged_tables_are_replaced);
	return unit_run(suite);
}

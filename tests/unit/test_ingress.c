/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Filters at ingress on a kernel in memory: when they come and go, what of others stays, and
 * what is done where they cannot be had.
 */
#include <errno.h>
#include <netinet/in.h>
#include <linux/netfilter.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fake_kernel.h"
#include "unit.h"
#include "world.h"

#define MARK UINT32_C(0x10000000)
#define NAME "nat-bridge/1:0x10000000"

static struct nb_netlink *nl;
static struct nb_outcome outcome;
static struct world w;

static void set_up(void)
{
	fake_reset();
	fake.bpf = true;
	fake_add_link("br0", 3, 0, 0);
	nl = nb_netlink_new();
	ck_assert_ptr_nonnull(nl);
	memset(&w, 0, sizeof(w));
	wants(&w, "br0", "iface:br0", IPPROTO_TCP, 80, 80);
}

static void tear_down(void)
{
	world_clear(&w);
	nb_netlink_free(nl);
	fake_reset();
}

static void read_state(const struct nb_element_list *keys)
{
	nb_plan_clear(&w.plan);
	nb_state_clear(&w.state);
	ck_assert_msg(nb_state_read(nl, MARK, keys, 0, &w.state, &w.err) == 0, "%s", w.err.message);
	ck_assert_int_eq(nb_state_probe_ingress(nl, MARK, &w.desired.bridges, &w.state, &w.err), 0);
}

/* Read, plan, execute, with a fault at exchange @at of the execution. */
static int run(unsigned int at, int number)
{
	int r;

	fake.fail_at = 0;
	read_state(NULL);
	planned(&w);
	memset(&outcome, 0, sizeof(outcome));
	memset(&w.err, 0, sizeof(w.err));
	fake.log[0] = '\0';
	fake.exchanges = 0;
	fake.fail_at = at;
	fake.number = number;
	r = nb_plan_execute(nl, &w.plan, &w.state, MARK, &outcome, &w.warnings, &w.err);
	fake.fail_at = 0;
	return r;
}

static void must_run(void)
{
	int r = run(0, 0);

	ck_assert_msg(r == 0, "%s", w.err.message);
}

static void is_settled(void)
{
	must_run();
	ck_assert_str_eq(w.text, "");
	ck_assert(!outcome.changed);
	read_state(NULL);
	ck_assert_str_eq(findings(&w), "");
	w.explain = false;
}

#define ADD_LOG                                      \
	"batch +table +bridges +targets +accepted; " \
	"?clsact 3; +clsact,+chain,+filter 3; setlink br0 1 6e620000; "
#define REMOVE_LOG \
	"batch -targets -accepted; end 3:80 3:0; setlink br0 0 0; -clsact 3; batch -table; "

START_TEST(there_and_back)
{
	must_run();
	ck_assert_str_eq(fake.log, ADD_LOG);
	ck_assert_str_eq(fake_find_ingress("br0")->name, NAME ":qdisc");
	ck_assert_uint_eq(fake_find_ingress("br0")->priority, NB_INGRESS_PRIORITY);
	is_settled();

	nb_desired_clear(&w.desired);
	must_run();
	ck_assert_str_eq(fake.log, REMOVE_LOG);
	ck_assert(!fake_find_ingress("br0")->clsact);
	is_settled();
}
END_TEST

/* With a second mapping on the bridge, in a reading of its key alone. */
START_TEST(partial_readings)
{
	struct nb_element key = { .bridge = "br0", .port = 81, .protocol = IPPROTO_TCP };
	struct nb_element_list keys = { .items = &key, .count = 1 };

	must_run();
	fake_add_link("br1", 4, 0, 0);
	wants(&w, "br1", "iface:br1", IPPROTO_TCP, 80, 80);
	must_run();
	nb_desired_clear(&w.desired);
	wants(&w, "br0", "iface:br0", IPPROTO_TCP, 81, 81);
	read_state(&keys);
	ck_assert(w.state.partial);
	/* the other bridge was not looked at, so nothing of it is concluded */
	ck_assert_uint_eq(nb_link_find(&w.state.links, "br1")->ingress.priority, 0);
	ck_assert_int_eq(w.state.ingress, NB_INGRESS_POSSIBLE);
	ck_assert_str_eq(planned(&w), "first +T:br0.tcp.81>81 +A:br0.tcp.81>81");
	/* the first on a bridge gets its filter then, too */
	fake_find_ingress("br0")->priority = 0;
	read_state(&keys);
	ck_assert_str_eq(planned(&w), "first +T:br0.tcp.81>81 +A:br0.tcp.81>81 | attach br0");
}
END_TEST

START_TEST(drift)
{
	must_run();
	/* somebody deletes it, and its qdisc stays */
	fake_find_ingress("br0")->priority = 0;
	read_state(NULL);
	ck_assert_str_eq(findings(&w), "the ingress filter of br0 is missing [iface:br0]\n");
	w.explain = false;
	must_run();
	ck_assert_str_eq(fake.log, "?clsact 3; +chain,+filter 3; ");
	ck_assert_str_eq(fake_find_ingress("br0")->name, NAME ":qdisc");
	is_settled();

	/* of an earlier version: in place of it, and what it knew of the qdisc is kept */
	fake_find_ingress("br0")->chain = false;
	strcpy(fake_find_ingress("br0")->name, "nat-bridge/0:0x10000000:qdisc");
	read_state(NULL);
	ck_assert_str_eq(findings(&w), "the ingress filter of br0 is of another version or for "
				       "another mark [iface:br0]\n");
	w.explain = false;
	must_run();
	ck_assert_str_eq(fake.log, "+chain,+filter 3; ");
	ck_assert_str_eq(fake_find_ingress("br0")->name, NAME ":qdisc");
	ck_assert(fake_find_ingress("br0")->chain);
	fake_find_ingress("br0")->chain = false;
	strcpy(fake_find_ingress("br0")->name, "nat-bridge/1:0x20000000");
	must_run();
	ck_assert_str_eq(fake.log, "+filter 3; ");
	ck_assert_str_eq(fake_find_ingress("br0")->name, NAME);
	is_settled();

	/* left over where nothing is mapped */
	fake_add_link("br1", 4, 0, 0);
	*fake_find_ingress("br1") = *fake_find_ingress("br0");
	read_state(NULL);
	ck_assert_str_eq(findings(&w), "the ingress filter of br1 is left over [iface:br1]\n");
	w.explain = false;
	must_run();
	ck_assert_str_eq(fake.log, "end 4:0; -filter 4; ");
	ck_assert(fake_find_ingress("br1")->clsact);
	is_settled();
}
END_TEST

START_TEST(others_filters_stay)
{
	struct fake_ingress *at = fake_find_ingress("br0");

	/* a qdisc without filters, on a device that was never ours */
	at->clsact = true;
	must_run();
	ck_assert_str_eq(at->name, NAME);
	is_settled();
	nb_desired_clear(&w.desired);
	must_run();
	ck_assert(at->clsact);

	/* our priority is taken */
	at->foreign = NB_INGRESS_PRIORITY;
	wants(&w, "br0", "iface:br0", IPPROTO_TCP, 80, 80);
	must_run();
	ck_assert_uint_eq(at->priority, NB_INGRESS_PRIORITY + 1);
	is_settled();
	ck_assert(nb_link_find(&w.state.links, "br0")->ingress.preceded);
	at->foreign = NB_INGRESS_PRIORITY + 2;
	read_state(NULL);
	ck_assert(!nb_link_find(&w.state.links, "br0")->ingress.preceded);
	nb_desired_clear(&w.desired);
	must_run();
	ck_assert(at->clsact && at->foreign);

	/* what others put into our qdisc keeps it, coming in or going out */
	for (int out = 0; out < 2; out++) {
		memset(at, 0, sizeof(*at));
		wants(&w, "br0", "iface:br0", IPPROTO_TCP, 80, 80);
		must_run();
		ck_assert_str_eq(at->name, NAME ":qdisc");
		at->foreign = out ? 0 : 1;
		at->foreign_egress = out ? 1 : 0;
		nb_desired_clear(&w.desired);
		must_run();
		ck_assert(at->clsact && !at->chain);
		ck_assert_uint_eq(at->priority, 0);
		is_settled();
	}
}
END_TEST

/* Somebody takes our filter away: the chain says whose the qdisc is that stays. */
START_TEST(whose_qdisc)
{
	struct fake_ingress *at = fake_find_ingress("br0");

	/* ours goes, without a filter too, with the bridge's last mapping */
	must_run();
	at->priority = 0;
	nb_desired_clear(&w.desired);
	must_run();
	ck_assert_str_eq(fake.log, REMOVE_LOG);
	ck_assert(!at->clsact);
	is_settled();

	/* or later, if it was left over */
	at->clsact = at->chain = true;
	read_state(NULL);
	ck_assert_str_eq(findings(&w), "the ingress qdisc of br0 is left over [iface:br0]\n");
	w.explain = false;
	must_run();
	ck_assert_str_eq(fake.log, "-clsact 3; ");
	is_settled();

	/* and one that others use now is theirs */
	at->clsact = at->chain = true;
	at->foreign = 1;
	must_run();
	ck_assert_str_eq(fake.log, "-chain 3; ");
	ck_assert(at->clsact);
	is_settled();
	memset(at, 0, sizeof(*at));

	/* one that somebody made in place of ours stays, whatever the device's tag says */
	wants(&w, "br0", "iface:br0", IPPROTO_TCP, 80, 80);
	must_run();
	memset(at, 0, sizeof(*at));
	at->clsact = true;
	must_run();
	ck_assert_str_eq(fake.log, "?clsact 3; +filter 3; ");
	ck_assert_str_eq(at->name, NAME);
	nb_desired_clear(&w.desired);
	must_run();
	ck_assert(at->clsact);
	ck_assert_uint_eq(at->priority, 0);
	is_settled();
}
END_TEST

START_TEST(impossible)
{
	static const struct {
		bool bpf;
		int no_clsact;
		const char *why;
	} rows[] = {
		{ false, 0, "bpf(2): Operation not permitted" },
		{ true, -ENOENT, "qdisc clsact: No such file or directory" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		fake.bpf = rows[i].bpf;
		fake.no_clsact = rows[i].no_clsact;
		must_run();
		ck_assert_str_eq(w.state.ingress_why, rows[i].why);
		ck_assert(outcome.changed);
		ck_assert_uint_eq(w.warnings.count, 0);
		ck_assert_uint_eq(fake_find_link("br0")->route_localnet, 1);
		is_settled();
		ck_assert_int_eq(w.state.ingress, NB_INGRESS_IMPOSSIBLE);
		tear_down();
		set_up();
	}
}
END_TEST

/* A kernel that takes the probe and then refuses: the rest is done, with a word. */
START_TEST(refused_at_last)
{
	static const int numbers[] = { -ENOENT, -EOPNOTSUPP, -EPERM };

	for (size_t i = 0; i < COUNT(numbers); i++) {
		/* the question whether the qdisc is there, qdisc and filter */
		for (unsigned int at = 2; at <= 3; at++) {
			ck_assert_int_eq(run(at, numbers[i]), 0);
			ck_assert(!fake_find_ingress("br0")->clsact);
			ck_assert_uint_eq(fake_find_link("br0")->route_localnet, 1);
			ck_assert_uint_eq(w.warnings.count, 1);
			ck_assert_ptr_nonnull(strstr(w.warnings.items[0],
						     numbers[i] == -ENOENT
							     ? "guard: nftables only (tc: "
							     : "guard of br0: nftables only"));
			ck_assert_int_eq(outcome.unfiltered[0] != '\0', numbers[i] == -ENOENT);
			must_run();
			is_settled();
			tear_down();
			set_up();
		}
	}
	/* with a qdisc of others, all priorities of which are taken */
	fake_find_ingress("br0")->clsact = true;
	fake.no_filter = -EINVAL;
	must_run();
	ck_assert_uint_eq(w.warnings.count, 1);
	ck_assert(fake_find_ingress("br0")->clsact);
	ck_assert_uint_eq(fake_find_ingress("br0")->priority, 0);
}
END_TEST

/* Nor does a qdisc that was made for it stay. */
START_TEST(refused_filter)
{
	fake.no_filter = -ENOENT;
	must_run();
	ck_assert_str_eq(fake.log, "batch +table +bridges +targets +accepted; ?clsact 3; "
				   "+clsact,+chain,+filter 3; -clsact 3; setlink br0 1 6e620000; ");
	ck_assert(!fake_find_ingress("br0")->clsact);
}
END_TEST

static void somebody_makes_it(void)
{
	if (strstr(fake.log, "?clsact 3"))
		fake_find_ingress("br0")->clsact = true;
}

/* Somebody makes the qdisc between the question and our datagram: it is theirs, and stays. */
START_TEST(qdisc_made_meanwhile)
{
	fake.hook = somebody_makes_it;
	fake.hook_at = 3;
	must_run();
	fake.hook = NULL;
	ck_assert_str_eq(fake_find_ingress("br0")->name, NAME);
	ck_assert(!fake_find_ingress("br0")->chain);
	is_settled();
	nb_desired_clear(&w.desired);
	must_run();
	ck_assert(fake_find_ingress("br0")->clsact);
	ck_assert_uint_eq(fake_find_ingress("br0")->priority, 0);

	/* nor is it deleted where no filter can be attached */
	tear_down();
	set_up();
	fake.no_filter = -ENOENT;
	fake.hook = somebody_makes_it;
	fake.hook_at = 3;
	must_run();
	ck_assert(fake_find_ingress("br0")->clsact);
	ck_assert(!fake_find_ingress("br0")->chain);
}
END_TEST

START_TEST(nothing_follows_a_failure)
{
	for (unsigned int at = 2; at <= 3; at++) {
		ck_assert_int_eq(run(at, -ENOBUFS), -ENOBUFS);
		ck_assert_ptr_nonnull(strstr(w.err.message, "attach the ingress filter of br0"));
		ck_assert_ptr_null(strstr(fake.log, "setlink"));
		ck_assert(!fake_find_ingress("br0")->clsact);
		must_run();
		is_settled();
		tear_down();
		set_up();
	}
	/* behind batch, flows and device: two questions, qdisc */
	for (unsigned int at = 4; at <= 6; at++) {
		must_run();
		nb_desired_clear(&w.desired);
		ck_assert_int_eq(run(at, -ENOBUFS), -ENOBUFS);
		ck_assert_ptr_nonnull(strstr(w.err.message, "detach the ingress filter of br0"));
		ck_assert_ptr_null(strstr(fake.log, "-table"));
		ck_assert_uint_eq(fake_find_link("br0")->route_localnet, 0);
		must_run();
		ck_assert(!fake_find_ingress("br0")->clsact);
		is_settled();
		tear_down();
		set_up();
	}
}
END_TEST

/* An errno that says nothing of what is possible is a failure, not "nftables only". */
START_TEST(failing_probe)
{
	fake.no_clsact = -ENOBUFS;
	ck_assert_int_eq(nb_state_read(nl, MARK, NULL, 0, &w.state, &w.err), 0);
	nb_desired_finish(&w.desired);
	ck_assert_int_eq(nb_state_probe_ingress(nl, MARK, &w.desired.bridges, &w.state, &w.err),
			 -ENOBUFS);
	ck_assert_ptr_nonnull(strstr(w.err.message, "ingress filter: qdisc clsact: "));
	ck_assert_int_eq(w.state.ingress, NB_INGRESS_UNASKED);
}
END_TEST

/* The device vanishes before the filter is attached, or with it before it is detached. */
START_TEST(devices_that_vanish)
{
	for (unsigned int at = 2; at <= 3; at++) {
		ck_assert_int_eq(run(at, -ENODEV), 0);
		ck_assert_str_eq(outcome.vanished, "br0");
		tear_down();
		set_up();
	}
	for (unsigned int at = 4; at <= 6; at++) {
		must_run();
		nb_desired_clear(&w.desired);
		ck_assert_int_eq(run(at, -ENODEV), 0);
		ck_assert_str_eq(outcome.vanished, "");
		tear_down();
		set_up();
	}
}
END_TEST

/* After a flush: closed first, and the filter that is still there is not touched. */
START_TEST(after_a_flush)
{
	must_run();
	fake_delete_table(NFPROTO_INET, NB_TABLE_NAME);
	must_run();
	ck_assert_str_eq(fake.log, "setlink br0 0 0; batch +table +bridges +targets +accepted; "
				   "setlink br0 1 6e620000; end 3:0 not 3:80; ");
	is_settled();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ingress");

	unit_add_between(suite, "there_and_back", there_and_back, set_up, tear_down);
	unit_add_between(suite, "partial", partial_readings, set_up, tear_down);
	unit_add_between(suite, "drift", drift, set_up, tear_down);
	unit_add_between(suite, "others", others_filters_stay, set_up, tear_down);
	unit_add_between(suite, "qdisc", whose_qdisc, set_up, tear_down);
	unit_add_between(suite, "impossible", impossible, set_up, tear_down);
	unit_add_between(suite, "refused", refused_at_last, set_up, tear_down);
	unit_add_between(suite, "refused_filter", refused_filter, set_up, tear_down);
	unit_add_between(suite, "meanwhile", qdisc_made_meanwhile, set_up, tear_down);
	unit_add_between(suite, "probe", failing_probe, set_up, tear_down);
	unit_add_between(suite, "failure", nothing_follows_a_failure, set_up, tear_down);
	unit_add_between(suite, "vanish", devices_that_vanish, set_up, tear_down);
	unit_add_between(suite, "flush", after_a_flush, set_up, tear_down);
	return unit_run(suite);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When the watcher looks again: quiet times, storms, fights, failures. */
#include "unit.h"
#include "watch/pace.h"

static struct nb_pace pace;
static int64_t now;

static void start(void)
{
	pace = (struct nb_pace){ 0 };
	now = 1000000;
}

/* Something happens, and the look that follows takes @length. Returns how long it had to wait. */
static int64_t happens(int64_t length, bool mended, bool failed)
{
	int64_t begun = nb_pace_next(&pace, now), waited = begun - now;

	nb_pace_begin(&pace);
	/* more happens meanwhile */
	nb_pace_next(&pace, begun + length);
	now = begun + length;
	nb_pace_note(&pace, length, now, mended, failed);
	return waited;
}

START_TEST(quiet_times_do_not_wait)
{
	for (int i = 0; i < 20; i++) {
		ck_assert_int_eq(happens(3, false, false), 0);
		now += 100;
	}
}
END_TEST

START_TEST(a_storm_is_a_few_looks)
{
	int64_t begun = now;
	int looks = 0;

	for (; now < begun + 10000; looks++)
		happens(3, false, false);
	/* 20, 40, ... 640 ms, and then one in a second */
	ck_assert_int_ge(looks, 10);
	ck_assert_int_le(looks, 17);
	ck_assert_int_eq(pace.distance, NB_PACE_STORM_MS);
	/* and after it the next one is at once */
	now += NB_PACE_STORM_MS;
	ck_assert_int_eq(happens(3, false, false), 0);
	ck_assert_int_eq(pace.distance, NB_PACE_SHORTEST_MS);
}
END_TEST

START_TEST(long_looks_take_a_fifth_of_the_time)
{
	int64_t begun = now, busy = 0;

	while (now < begun + 100000) {
		happens(500, false, false);
		busy += 500;
	}
	ck_assert_int_le(busy * 5, now - begun + 2500);
}
END_TEST

START_TEST(a_fight_is_noticed_and_left)
{
	int64_t waited = 0, last = 0;
	int begins = 0;

	for (int i = 0; i < 60; i++) {
		int64_t begun = nb_pace_next(&pace, now);

		waited = begun - now;
		now = begun + 3;
		begins += nb_pace_note(&pace, 3, now, true, false);
		if (i > NB_PACE_FIGHTS && last < NB_PACE_FIGHT_MS)
			ck_assert_int_gt(waited, last);
		last = waited;
	}
	ck_assert_int_eq(begins, 1);
	ck_assert_int_eq(waited, NB_PACE_FIGHT_MS);
	/* a look that finds nothing to mend, as after our own change of a device, is no peace */
	ck_assert_int_eq(happens(3, false, false), NB_PACE_FIGHT_MS);
	ck_assert(pace.fighting);
	ck_assert_int_eq(happens(3, true, false), NB_PACE_FIGHT_MS);
	/* when they have stopped for long there is no more waiting */
	now += 2 * NB_PACE_FIGHT_MS + NB_PACE_QUIET_MS;
	ck_assert_int_eq(happens(3, false, false), 0);
	ck_assert(!pace.fighting);
	now += 100;
	ck_assert_int_eq(happens(3, true, false), 0);
}
END_TEST

START_TEST(rare_mends_are_no_fight)
{
	for (int i = 0; i < 50; i++) {
		int64_t begun = nb_pace_next(&pace, now);

		ck_assert_int_eq(begun, now);
		ck_assert(!nb_pace_note(&pace, 3, begun + 3, true, false));
		now += NB_PACE_WITHIN_MS / (NB_PACE_FIGHTS - 1) + 10;
	}
}
END_TEST

START_TEST(failures_are_tried_again_ever_later)
{
	int64_t waited = 0;

	for (int i = 0; i < 20; i++)
		waited = happens(3, false, true);
	ck_assert_int_eq(waited, NB_PACE_FIGHT_MS);
	happens(3, false, false);
	ck_assert_int_le(pace.distance, NB_PACE_STORM_MS);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pace");

	unit_add_between(suite, "quiet", quiet_times_do_not_wait, start, NULL);
	unit_add_between(suite, "storm", a_storm_is_a_few_looks, start, NULL);
	unit_add_between(suite, "long", long_looks_take_a_fifth_of_the_time, start, NULL);
	unit_add_between(suite, "fight", a_fight_is_noticed_and_left, start, NULL);
	unit_add_between(suite, "rare", rare_mends_are_no_fight, start, NULL);
	unit_add_between(suite, "failures", failures_are_tried_again_ever_later, start, NULL);
	return unit_run(suite);
}

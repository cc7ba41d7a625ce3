/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When the watcher looks again. */
#include "pace.h"

static int64_t at_most(int64_t value, int64_t limit)
{
	return value < limit ? value : limit;
}

int64_t nb_pace_earlier(int64_t a, int64_t b)
{
	return a == 0 || (b && b < a) ? b : a;
}

int64_t nb_pace_next(struct nb_pace *pace, int64_t now)
{
	int64_t next = pace->last + pace->distance;

	pace->waits = pace->last && next > now;
	return pace->waits ? next : now;
}

void nb_pace_begin(struct nb_pace *pace)
{
	pace->waited = pace->waits;
}

/* Returns true where the last of so many mends in a short time begins a fight. */
static bool count_mend(struct nb_pace *pace, int64_t now)
{
	if (pace->mends == 0 || now - pace->first > NB_PACE_WITHIN_MS) {
		pace->first = now;
		pace->mends = 0;
	}
	return ++pace->mends == NB_PACE_FIGHTS;
}

bool nb_pace_note(struct nb_pace *pace, int64_t cost, int64_t now, bool mended, bool failed)
{
	int64_t shortest = 4 * cost;
	bool begins = false;

	if (shortest < NB_PACE_SHORTEST_MS)
		shortest = NB_PACE_SHORTEST_MS;
	if (pace->fighting && now - pace->mended > 2 * pace->distance + NB_PACE_QUIET_MS)
		*pace = (struct nb_pace){ .waited = pace->waited };
	if (mended && !pace->fighting)
		begins = pace->fighting = count_mend(pace, now);
	if (mended)
		pace->mended = now;
	pace->last = now;
	if (begins)
		pace->distance = pace->distance > NB_PACE_BEGIN_MS ? pace->distance
								   : NB_PACE_BEGIN_MS;
	else if (pace->fighting && !mended && !failed)
		return false; /* not longer, and not shorter: it may be no more than a pause */
	else if (pace->fighting)
		pace->distance = at_most(pace->distance * 5 / 4, NB_PACE_FIGHT_MS);
	else if (failed)
		pace->distance = at_most(2 * pace->distance, NB_PACE_FIGHT_MS);
	else if (pace->waited)
		pace->distance = at_most(2 * pace->distance, NB_PACE_STORM_MS);
	else
		pace->distance = shortest;
	if (pace->distance < shortest)
		pace->distance = shortest;
	return begins;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the last `apply` left, so that the next one need not dump 65,000
 * elements to find that nothing has changed.
 */
#ifndef NAT_BRIDGE_STAMP_H
#define NAT_BRIDGE_STAMP_H

#include "wanted.h"

/*
 * True if the kernel is certainly what the rule files say: the ruleset's
 * generation is the one that the last apply left, the wish is the same, and the devices are
 * as they should be. False means only that it is not certain. Fills @wanted for the report.
 */
bool nb_stamp_is_current(struct nb_run *run, struct nb_wanted *wanted);

/* Remember @generation, which @wanted was found or made to agree with. Never fails. */
void nb_stamp_save(struct nb_run *run, const struct nb_wanted *wanted, uint32_t generation);

#endif

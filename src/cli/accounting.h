/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What connection tracking has to be told before it counts bytes and notes times. Both settings
 * are the network namespace's, not ours: they are set only if somebody asks for it, and set back.
 */
#ifndef NAT_BRIDGE_ACCOUNTING_H
#define NAT_BRIDGE_ACCOUNTING_H

#include "cli.h"

/* Is there anything to hear at all? Fills run->error if not. */
int nb_accounting_check_events(struct nb_run *run);
/* Turn both on. What they were is kept in /run/nat-bridge, also for the one who comes after a kill. */
int nb_accounting_begin(struct nb_run *run);
/* Set back what a begin has set, this process's or an earlier one's. */
void nb_accounting_end(struct nb_run *run);

#endif

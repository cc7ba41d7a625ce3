/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Obstacles of the firewalls as causes. */
#ifndef NAT_BRIDGE_DIAGNOSE_FIREWALLS_H
#define NAT_BRIDGE_DIAGNOSE_FIREWALLS_H

#include "diagnose.h"

/* The case of these packets; NULL: none, as of a clash of marks. */
const struct nb_case *nb_case_of_path(const struct nb_diagnosis *diagnosis,
				      const struct nb_flow_path *path);
/* @one NULL: about the host. */
struct nb_cause *nb_blame_obstacle(struct nb_diagnosis *diagnosis, const struct nb_case *one,
				   const struct nb_obstacle *obstacle);

#endif

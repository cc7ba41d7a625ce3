/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef NAT_BRIDGE_REST_H
#define NAT_BRIDGE_REST_H

/* Give back what memory is not needed as long as nothing happens. Costs some page faults afterwards. */
void nb_rest(void);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Traffic control of the kernel in memory; for fake_kernel.c alone. */
#ifndef NAT_BRIDGE_FAKE_TC_H
#define NAT_BRIDGE_FAKE_TC_H

#include "fake_kernel.h"
#include "fake_nft.h"

bool fake_tc_is_request(const struct nlmsghdr *request);
int fake_tc_answer(const struct nlmsghdr *request, callback_fn *callback, void *data);
/* What a change is called in the log, or NULL. */
const char *fake_tc_label(const struct nlmsghdr *request);

#endif

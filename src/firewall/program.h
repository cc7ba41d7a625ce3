/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whose a chain is. */
#ifndef NAT_BRIDGE_FIREWALL_PROGRAM_H
#define NAT_BRIDGE_FIREWALL_PROGRAM_H

#include "walk.h"

/* A base chain that iptables made: there a rule has to be one that it can read. */
bool nb_chain_is_iptables(const struct nb_chain *chain);

/*
 * The program that most likely made the rules of base chain @base, by the names of its table and
 * of the chains that it jumps to: "firewalld", "ufw, kube-proxy", "iptables-nft". "" where no
 * name proves anything. Returns @buffer.
 */
char *nb_program_of(const struct nb_chain_list *list, const struct nb_chain *base, char *buffer,
		    size_t size);

#endif

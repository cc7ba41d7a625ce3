/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whose a chain is. The kernel does not know which program made a rule; programs give their tables
 * and chains names of their own, and where they do not, nothing is said.
 */
#include "program.h"

#include <libnftnl/expr.h>
#include <linux/netfilter.h>
#include <stdio.h>
#include <string.h>

#include "../ruleset/foreign.h"

struct sign {
	const char *name; /* "x*": what begins so, "*x": what ends so */
	const char *program;
};

/* Tables of one program alone. */
static const struct sign tables[] = {
	{ "crowdsec", "CrowdSec" },
	{ "docker-bridges", "Docker" },
	{ "f2b-table", "fail2ban" },
	{ "firewalld", "firewalld" },
	{ "firewalld_policy_drop", "firewalld" },
	{ "fw4", "OpenWrt" },
	{ "incus", "Incus" },
	{ "io.systemd.nat", "systemd-networkd" },
	{ "kube-proxy", "kube-proxy" },
	{ "libvirt_network", "libvirt" },
	{ "lxd", "LXD" },
	{ "mullvad", "Mullvad" },
	{ "netavark", "Podman (netavark)" },
	{ "nixos-fw", "NixOS" },
	{ "sshguard", "sshguard" },
	{ "wg-quick-*", "wg-quick" },
};

/* Chains that programs hang into those of iptables. */
static const struct sign chains[] = {
	{ "CILIUM_*", "Cilium" },    { "CNI-*", "CNI" },
	{ "CROWDSEC*", "CrowdSec" }, { "DOCKER*", "Docker" },
	{ "FLANNEL-*", "flannel" },  { "KUBE-*", "kube-proxy" },
	{ "LIBVIRT_*", "libvirt" },  { "NETAVARK*", "Podman (netavark)" },
	{ "WEAVE*", "Weave" },	     { "*_ZONES", "firewalld" },
	{ "*_direct", "firewalld" }, { "cali-*", "Calico" },
	{ "f2b-*", "fail2ban" },     { "nixos-fw*", "NixOS" },
	{ "ts-*", "Tailscale" },     { "ufw-*", "ufw" },
};

bool nb_chain_is_iptables(const struct nb_chain *chain)
{
	static const char *const names[] = { "PREROUTING", "INPUT", "OUTPUT", "POSTROUTING" };

	if (chain->legacy)
		return true;
	if (!nb_foreign_is_iptables(chain->family, chain->table))
		return false;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(chain->name, names[i]) == 0)
			return true;
	return false;
}

static bool is_sign(const struct sign *sign, const char *name)
{
	size_t length = strlen(sign->name), size = strlen(name);

	if (sign->name[0] == '*')
		return size >= length - 1 &&
		       strcmp(name + size - (length - 1), sign->name + 1) == 0;
	if (sign->name[length - 1] == '*')
		return strncmp(name, sign->name, length - 1) == 0;
	return strcmp(name, sign->name) == 0;
}

static const char *find_sign(const struct sign *signs, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (is_sign(&signs[i], name))
			return signs[i].program;
	return NULL;
}

/* Those whose chains a chain of iptables jumps to, each once. */
static void find_guests(const struct nb_chain *base, char *buffer, size_t size)
{
	for (size_t i = 0; i < base->count; i++) {
		const char *target = nb_rule_target(base->rules[i]), *program;
		size_t used = strlen(buffer);

		program = target ? find_sign(chains, sizeof(chains) / sizeof(chains[0]), target)
				 : NULL;
		if (program && !strstr(buffer, program) && used + strlen(program) + 3 <= size)
			snprintf(buffer + used, size - used, "%s%s", used ? ", " : "", program);
	}
}

/* The names of the file that Debian, Fedora and others begin with. */
static bool is_usual_file(const struct nb_chain_list *list, const struct nb_chain *base)
{
	return base->family == NFPROTO_INET && strcmp(base->table, "filter") == 0 &&
	       nb_chain_find(list, base, "input") && nb_chain_find(list, base, "forward") &&
	       nb_chain_find(list, base, "output");
}

char *nb_program_of(const struct nb_chain_list *list, const struct nb_chain *base, char *buffer,
		    size_t size)
{
	const char *program = NULL;

	buffer[0] = '\0';
	if (nb_chain_is_iptables(base)) {
		find_guests(base, buffer, size);
		if (!buffer[0])
			program = base->legacy ? "iptables-legacy" : "iptables-nft";
	} else if (is_usual_file(list, base)) {
		program = "nftables.conf";
	} else {
		program = find_sign(tables, sizeof(tables) / sizeof(tables[0]), base->table);
	}
	if (program)
		snprintf(buffer, size, "%s", program);
	return buffer;
}

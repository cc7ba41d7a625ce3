/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command table. */
#include <string.h>

#include "cli.h"

const struct nb_command nb_commands[] = {
	{
		.name = "add",
		.synopsis = "NETWORK PORT...",
		.summary = "let a network reach ports of the host's 127.0.0.1",
		.description =
			"PORT is [LISTEN:][ADDRESS:]PORT[/tcp|/udp], as in ssh -L, or the name of\n"
			"a service, see below:\n"
			"  11434                dial 11434, reach 127.0.0.1:11434/tcp\n"
			"  15432:5432           dial 15432, reach 127.0.0.1:5432\n"
			"  53:127.0.0.54:53/udp dial 53/udp, reach 127.0.0.54:53\n"
			"NETWORK is an interface, a network of Docker, or one of Podman, by its\n"
			"name; iface:NAME, docker:NAME or podman:NAME also before it exists.\n"
			"'docker:*' is each network of Docker, now and later, 'docker:proj_*' "
			"each\n"
			"that it matches, container:NAME each that a container is attached to.\n",
		.truth = "changed",
		.lists = { "mappings", "pending" },
		.run = nb_command_add,
	},
	{
		.name = "remove",
		.aliases = { "rm", "delete" },
		.synopsis = "NETWORK PORT...|--all | --all-networks",
		.summary = "take mappings back and end their connections",
		.description =
			"PORT as in add; the port dialled and the protocol say which mapping.\n"
			"Removing what is not there is no failure.\n",
		.truth = "changed",
		.lists = { "mappings", "pending" },
		.run = nb_command_remove,
	},
	{
		.name = "list",
		.aliases = { "ls" },
		.synopsis = "[NETWORK]",
		.summary = "show what is configured and what is live",
		.description = "Any user may call it. It says what only root may see.\n",
		.lists = { "mappings" },
		.run = nb_command_list,
	},
	{
		.name = "status",
		.synopsis = "[NETWORK]",
		.summary = "the whole picture: who listens, who connects, what is in the way",
		.description =
			"Each network with its containers, its guard and its mappings; the\n"
			"firewalls on the way; warnings with their cure. Any user may call it.\n"
			"It says what only root may see.\n",
		.lists = { "networks", "firewalls", "drift" },
		.run = nb_command_status,
	},
	{
		.name = "apply",
		.synopsis = "",
		.summary = "make the kernel what the rule files say",
		.description = "For boot and for configuration management: a second run changes\n"
			       "nothing and says so.\n",
		.truth = "changed",
		.lists = { "mappings", "pending" },
		.run = nb_command_apply,
	},
	{
		.name = "check",
		.synopsis = "",
		.summary = "say whether the kernel is what the rule files say; changes nothing",
		.description = "Exit status 0: yes. 3: no; each difference is named.\n",
		.truth = "in_sync",
		.lists = { "drift" },
		.run = nb_command_check,
	},
	{
		.name = "doctor",
		.synopsis = "[NETWORK] [PORT]",
		.summary = "find out why it does not work, and prove it",
		.description =
			"Reads what may be wrong, and dials each mapping from its network; a rule\n"
			"that drops the packets is named, with the command that mends it. It\n"
			"changes nothing but with --fix, and --dry-run sends no packet either.\n"
			"With --payload services are asked: who refuses the name, or the address?\n"
			"Exit status 0: healthy. 1: problems were found, or only root could.\n",
		.truth = "healthy",
		.lists = { "findings", "probes" },
		.run = nb_command_doctor,
	},
	{
		.name = "flush",
		.synopsis = "",
		.summary = "take everything out of the kernel; rule files stay",
		.description = "",
		.truth = "changed",
		.lists = { "mappings", "pending" },
		.run = nb_command_flush,
	},
	{
		.name = "verify",
		.synopsis = "[NETWORK]",
		.summary = "prove it with packets: mappings reached, everything else closed",
		.description =
			"Sends from containers of each network, from every other bridge, from a\n"
			"network that stands for the LAN, and frames to 127.0.0.0/8 from all of\n"
			"them; also to the host's other addresses.\n"
			"Connections are closed at once, datagrams are empty; see --payload.\n"
			"Exit status 0: all is as expected. 1: something is not, or it failed.\n",
		.truth = "verified",
		.lists = { "checks", "skipped" },
		.run = nb_command_verify,
	},
	{
		.name = "watch",
		.synopsis = "",
		.summary = "stay, and keep the kernel what the rule files say",
		.description =
			"For a service: it applies at once and whenever the ruleset, a device, a\n"
			"rule file or a network of Docker changes. What 'flush' took out stays\n"
			"out until 'apply'. Nothing depends on it but that runtime mappings come\n"
			"back after somebody else's 'nft flush ruleset'.\n"
			"With --log a line of JSON tells when a container connects, and one when\n"
			"that ends: who, where, how long and, with --log-accounting, how much.\n",
		.truth = "changed",
		.lists = { "mappings", "pending" },
		.run = nb_command_watch,
	},
	{
		.name = "complete",
		.synopsis = "-- [WORD...]",
		.summary = "what the last word of a command line can become, for shells",
		.description = "One candidate a line, with a description behind a tab.\n",
		.hidden = true,
		.run = nb_command_complete,
	},
};
const size_t nb_command_count = sizeof(nb_commands) / sizeof(nb_commands[0]);

const struct nb_command *nb_command_find(const char *name)
{
	for (size_t i = 0; i < nb_command_count; i++) {
		if (strcmp(nb_commands[i].name, name) == 0)
			return &nb_commands[i];
		for (size_t j = 0; nb_commands[i].aliases[j]; j++)
			if (strcmp(nb_commands[i].aliases[j], name) == 0)
				return &nb_commands[i];
	}
	return NULL;
}

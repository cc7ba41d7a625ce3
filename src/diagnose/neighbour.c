/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a container learns the bridge's hardware address: by ARP, which the host may be told not to
 * answer, and which passes a family of tables of its own. No packet of IP is seen then.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

/* behind netinet/in.h, which they would define anew */
#include <linux/netfilter.h>
#include <linux/netfilter_arp.h>

#include "../model/text.h"
#include "diagnose.h"

#define ANSWERS_NOBODY 8 /* of arp_ignore: for no address at all */

static bool read_ignore(const char *device)
{
	char path[96];
	FILE *file;
	int value;
	bool nobody;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/arp_ignore", device);
	file = fopen(path, "re");
	if (!file)
		return false;
	nobody = fscanf(file, "%d", &value) == 1 && value == ANSWERS_NOBODY;
	fclose(file);
	return nobody;
}

/* The kernel takes the larger of the device's value and that of all. */
static bool find_ignore(const struct nb_case *one, struct nb_port_trouble *ret)
{
	const char *const devices[] = { "all", one->bridge };
	char setting[NB_SETTING_SIZE];

	for (size_t i = 0; i < 2; i++) {
		if (!read_ignore(devices[i]))
			continue;
		snprintf(ret->what, sizeof(ret->what),
			 "the host answers nobody who asks for the hardware address of %s: "
			 "%s is %d",
			 one->bridge, nb_setting_text(devices[i], "arp_ignore", setting),
			 ANSWERS_NOBODY);
		snprintf(ret->mend, sizeof(ret->mend), "sysctl -w %s=0", setting);
		return true;
	}
	return false;
}

static bool find_table(struct nb_diagnosis *diagnosis, const struct nb_case *one,
		       struct nb_port_trouble *ret)
{
	char rule[NB_DROPPING_TEXT];
	struct nb_dropping dropping;
	bool answers;

	if (!nb_find_dropping(diagnosis->nl, NFPROTO_ARP, 1 << NF_ARP_IN | 1 << NF_ARP_OUT,
			      &dropping))
		return false;
	answers = dropping.hook == NF_ARP_OUT;
	snprintf(ret->what, sizeof(ret->what), "%s drops %s for the hardware address of %s",
		 nb_dropping_text(&dropping, rule), answers ? "answers to who asks" : "what asks",
		 one->bridge);
	if (nb_is_plain_word(dropping.base_table) && nb_is_plain_word(dropping.base) &&
	    nb_is_plain_word(one->bridge))
		snprintf(ret->mend, sizeof(ret->mend), "nft insert rule arp %s %s %s %s accept",
			 dropping.base_table, dropping.base, answers ? "oifname" : "iifname",
			 one->bridge);
	else
		snprintf(ret->mend, sizeof(ret->mend), "accept in that chain what is of %s",
			 one->bridge);
	return true;
}

bool nb_find_neighbour_trouble(struct nb_diagnosis *diagnosis, const struct nb_case *one,
			       struct nb_port_trouble *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (!find_ignore(one, ret) && !find_table(diagnosis, one, ret))
		return false;
	ret->code = "arp";
	return true;
}

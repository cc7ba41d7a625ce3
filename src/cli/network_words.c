/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NETWORK words of the command line -> networks. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "nat-bridge/route.h"

/* Every name that a bare NETWORK could have meant. */
struct candidates {
	const char **names;
	size_t count;
	size_t first; /* index of the one to name if none is near, or SIZE_MAX */
};

/* The network that each engine comes with. */
static bool is_stock(const char *name)
{
	return strcmp(name, "bridge") == 0 || strcmp(name, "podman") == 0;
}

static int collect_candidates(struct nb_run *run, const struct nb_link_list *links,
			      struct candidates *ret)
{
	size_t room = links->count + run->engines[NB_ENGINE_DOCKER].count +
		      run->engines[NB_ENGINE_PODMAN].count;

	*ret = (struct candidates){ .names = calloc(room + 1, sizeof(*ret->names)),
				    .first = SIZE_MAX };
	if (!ret->names)
		return nb_out_of_memory(run);
	for (int engine = NB_ENGINE_DOCKER; engine < NB_ENGINE_COUNT; engine++) {
		const struct nb_engine_answer *answer = &run->engines[engine];

		for (size_t i = 0; i < answer->count; i++) {
			if (!answer->networks[i].bridge[0])
				continue;
			/* somebody's own rather than the one that each engine comes with */
			if (ret->first == SIZE_MAX || is_stock(ret->names[ret->first]))
				ret->first = ret->count;
			ret->names[ret->count++] = answer->networks[i].name;
		}
	}
	for (size_t i = 0; i < links->count; i++) {
		const struct nb_link *link = &links->items[i];

		if (link->loopback)
			continue;
		/* an engine's bridge is better called by its network's name */
		if (ret->first == SIZE_MAX && strcmp(link->kind, "bridge") == 0)
			ret->first = ret->count;
		ret->names[ret->count++] = link->name;
	}
	return 0;
}

/* --- An address in place of a name --- */

/* "172.30.0.0/24" or "172.30.0.1" (a length of 32), in host byte order. */
static bool parse_prefix(const char *word, struct nb_prefix *ret)
{
	char address[INET_ADDRSTRLEN];
	size_t length = strcspn(word, "/");
	struct in_addr in;
	uint16_t bits = 32;

	if (length >= sizeof(address))
		return false;
	memcpy(address, word, length);
	address[length] = '\0';
	if (inet_pton(AF_INET, address, &in) != 1 ||
	    (word[length] && (nb_port_number_parse(word + length + 1, &bits) < 0 || bits > 32)))
		return false;
	*ret = (struct nb_prefix){ .address = ntohl(in.s_addr), .length = bits };
	return true;
}

static bool is_within(const struct nb_prefix *prefix, uint32_t address)
{
	return prefix->length > 0 && prefix->length <= 32 &&
	       (prefix->address ^ address) >> (32 - prefix->length) == 0;
}

/* The device of containers whose network holds the address, and how that belongs to it. */
static const struct nb_link *find_holder(const struct nb_link_list *links,
					 const struct nb_address_list *addresses,
					 const struct nb_prefix *asked, const char **ret_how)
{
	char why[256];

	for (size_t i = 0; i < addresses->count; i++) {
		const struct nb_prefix *own = &addresses->items[i].prefix;

		if (!is_within(own, asked->address))
			continue;
		*ret_how = asked->length == own->length && own->length < 32 ? "the network"
			   : asked->address == own->address		    ? "the address"
									    : "in the network";
		for (size_t j = 0; j < links->count; j++)
			if (links->items[j].index == addresses->items[i].ifindex &&
			    !links->items[j].loopback &&
			    nb_link_is_private(links, &links->items[j], why, sizeof(why)))
				return &links->items[j];
	}
	return NULL;
}

/*
 * Fill run->error with @status if @word is an address, or a network, of a bridge: its name is what
 * is asked for. 0: it is none.
 */
static int refuse_address(struct nb_run *run, const char *word, enum nb_status status)
{
	struct nb_netlink *nl = run->nl ? run->nl : nb_netlink_new();
	struct nb_address_list addresses = { 0 };
	struct nb_link_list links = { 0 };
	const struct nb_link *link = NULL;
	char words[256] = "", name[NB_NETWORK_SIZE];
	struct nb_network network;
	struct nb_prefix asked;
	struct nb_error ignored;
	const char *how;
	int r = 0;

	if (nl && parse_prefix(word, &asked) && nb_link_dump(nl, &links, &ignored) == 0 &&
	    nb_route_addresses(nl, &addresses, &ignored) == 0)
		link = find_holder(&links, &addresses, &asked, &how);
	if (link) {
		for (size_t i = 1; i < run->word_count; i++)
			snprintf(words + strlen(words), sizeof(words) - strlen(words), " %s",
				 run->words[i]);
		/* before the configuration is read nobody knows where engines are */
		if (run->nl && nb_ask_bridge(run, link->name, false, &network))
			nb_network_format(&network, name);
		else
			snprintf(name, sizeof(name), "%s", link->name);
		r = nb_error_set(&run->error, status, EINVAL,
				 status == NB_STATUS_USAGE ? "usage" : "no-network",
				 "%s is %s of %s: nat-bridge %s %s%s", word, how, name,
				 run->command->name, name, words);
	}
	nb_address_list_clear(&addresses);
	nb_link_list_clear(&links);
	if (nl != run->nl)
		nb_netlink_free(nl);
	return r;
}

/* --- Names --- */

/* Is it a container that was meant? Its network has another name as a rule. */
static bool is_container(struct nb_run *run, const char *word)
{
	struct nb_network network;
	char qualified[NB_NETWORK_SIZE + 16];
	bool found = false;

	snprintf(qualified, sizeof(qualified), "container:%.*s", NB_NETWORK_SIZE, word);
	if (nb_network_parse(qualified, &network, NULL) < 0)
		return false;
	for (int engine = NB_ENGINE_DOCKER; !found && engine < NB_ENGINE_COUNT; engine++) {
		struct nb_engine_container container;

		found = nb_ask_container(run, (enum nb_engine)engine, word, &container) == 0 &&
			container.found;
		nb_engine_container_clear(&container);
	}
	return found;
}

/* Nothing has this name: the nearest one that does, and engines that could not be asked. */
static int refuse_unknown(struct nb_run *run, const char *word, const struct nb_link_list *links)
{
	struct candidates candidates;
	char hint[NB_NETWORK_NAME_SIZE + 32] = "", later[64] = "", silent[64] = "";
	size_t nearest;
	int r;

	if (is_container(run, word))
		return nb_error_set(&run->error, NB_STATUS_FAILED, ENODEV, "no-network",
				    "%.95s is a container, no network: container:%.95s maps every "
				    "network that it is attached to",
				    word, word);
	r = refuse_address(run, word, NB_STATUS_FAILED);
	if (r < 0)
		return r;
	r = collect_candidates(run, links, &candidates);
	if (r < 0)
		return r;
	nearest = nb_nearest(word, candidates.names, candidates.count);
	/* any is a better hint than none */
	if (nearest == SIZE_MAX)
		nearest = candidates.first;
	if (nearest != SIZE_MAX)
		snprintf(hint, sizeof(hint), "; there is %s", candidates.names[nearest]);
	free(candidates.names);
	if (nb_ifname_valid(word, NULL))
		snprintf(later, sizeof(later), "iface:%s or ", word);
	for (int engine = NB_ENGINE_DOCKER; engine < NB_ENGINE_COUNT; engine++) {
		const struct nb_engine_answer *answer = &run->engines[engine];

		if (answer->known)
			continue;
		if (!answer->absent)
			nb_warn(&run->warnings, "%s", answer->why);
		else if (engine == NB_ENGINE_DOCKER)
			snprintf(silent, sizeof(silent), "; Docker is not running");
	}
	return nb_error_set(&run->error, NB_STATUS_FAILED, ENODEV, "no-network",
			    "no interface and no network of an engine is named %.95s%s%s "
			    "(%sdocker:%.95s if it comes later)",
			    word, hint, silent, later, word);
}

int nb_resolve_check_word(struct nb_run *run, const char *word)
{
	struct nb_network network;
	char docker[NB_NETWORK_SIZE + 16];
	const char *why;
	int r;

	if (nb_network_is_qualified(word))
		return nb_network_parse(word, &network, &run->error);
	snprintf(docker, sizeof(docker), "docker:%.*s", NB_NETWORK_SIZE, word);
	if (strchr(word, '*') && nb_network_parse(docker, &network, NULL) == 0)
		return nb_network_parse(word, &network, &run->error);
	if (!nb_ifname_valid(word, &why) && nb_network_parse(docker, &network, NULL) < 0)
		r = refuse_address(run, word, NB_STATUS_USAGE);
	else
		return 0;
	if (r < 0)
		return r;
	return nb_error_set(&run->error, NB_STATUS_USAGE, EINVAL, "usage", "NETWORK '%.80s' %s",
			    word, why);
}

/* A place where a bare name was found. */
struct found {
	struct nb_network network;
	const char *bridge; /* "": it has none */
};

static int look_up(struct nb_run *run, const char *word, enum nb_engine engine,
		   const struct nb_link_list *links, struct found *found, size_t *count)
{
	const struct nb_engine_answer *answer = NULL;
	const struct nb_engine_network *network;
	const char *bridge = NULL;

	if (engine == NB_ENGINE_IFACE) {
		bridge = nb_link_find(links, word) ? word : NULL;
	} else {
		answer = nb_ask_engine(run, engine);
		if (!answer)
			return nb_out_of_memory(run);
		network = nb_engine_find(answer, word);
		bridge = network ? network->bridge : NULL;
	}
	if (!bridge)
		return 0;
	found[*count].network = (struct nb_network){ .engine = engine };
	snprintf(found[*count].network.name, sizeof(found->network.name), "%s", word);
	found[*count].bridge = bridge;
	(*count)++;
	return 0;
}

/* An interface that belongs to an engine's network: that name outlives the bridge. */
static int hint_at_engine(struct nb_run *run, const char *bridge)
{
	for (int engine = NB_ENGINE_DOCKER; engine < NB_ENGINE_COUNT; engine++) {
		const struct nb_engine_answer *answer = nb_ask_engine(run, engine);

		if (!answer)
			return nb_out_of_memory(run);
		for (size_t i = 0; i < answer->count; i++)
			if (strcmp(answer->networks[i].bridge, bridge) == 0)
				nb_warn(&run->warnings,
					"%s is %s's network %s: name it %s:%s, and the mapping "
					"follows when the bridge is made anew",
					bridge, nb_engine_title(engine), answer->networks[i].name,
					nb_engine_name(engine), answer->networks[i].name);
	}
	return 0;
}

void nb_word_external(struct nb_run *run, const struct nb_network *network, const char *bridge)
{
	char reason[sizeof(run->error.message)], pattern[NB_NETWORK_SIZE];
	const struct nb_engine_answer *answer = &run->engines[network->engine];
	const char *name = NULL;

	if (strcmp(run->error.code, "external") != 0)
		return;
	for (size_t i = 0; nb_network_is_pattern(network) && i < answer->count; i++)
		if (strcmp(answer->networks[i].bridge, bridge) == 0 &&
		    nb_network_matches(network, answer->networks[i].name))
			name = answer->networks[i].name;
	memcpy(reason, run->error.message, sizeof(reason));
	if (name)
		nb_error_set(
			&run->error, NB_STATUS_FAILED, EPERM, "external",
			"%s matches %s, but %s; --except %s (\"except\": [\"%s:%s\"]) leaves it "
			"out",
			nb_network_format(network, pattern), name, reason, name,
			nb_engine_name(network->engine), name);
	else
		nb_error_set(&run->error, NB_STATUS_FAILED, EPERM, "external",
			     "%s; --allow-external (\"external\": true) if that is meant", reason);
}

int nb_resolve_word(struct nb_run *run, const char *word, const struct nb_link_list *links,
		    struct nb_network *ret)
{
	struct found found[NB_ENGINE_COUNT];
	char one[NB_NETWORK_SIZE], other[NB_NETWORK_SIZE];
	size_t count = 0;
	int r = 0;

	if (nb_network_is_qualified(word)) {
		const struct nb_link *link;

		r = nb_network_parse(word, ret, &run->error);
		link = r == 0 && ret->engine == NB_ENGINE_IFACE ? nb_link_find(links, ret->name)
								: NULL;
		return link && strcmp(link->kind, "bridge") == 0 ? hint_at_engine(run, ret->name)
								 : r;
	}
	for (int engine = 0; r == 0 && engine < NB_ENGINE_COUNT; engine++)
		r = look_up(run, word, (enum nb_engine)engine, links, found, &count);
	if (r < 0)
		return r;
	if (count == 0)
		return refuse_unknown(run, word, links);
	for (size_t i = 1; i < count; i++)
		if (strcmp(found[0].bridge, found[i].bridge) != 0)
			return nb_error_set(&run->error, NB_STATUS_FAILED, EEXIST, "ambiguous",
					    "%s is ambiguous: name %s or %s", word,
					    nb_network_format(&found[0].network, one),
					    nb_network_format(&found[i].network, other));
	*ret = found[0].network;
	return ret->engine == NB_ENGINE_IFACE ? hint_at_engine(run, word) : 0;
}

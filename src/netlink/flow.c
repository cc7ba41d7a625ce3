/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which live flows belong to which mapping, and the order in which they end.
 *
 * Theory of operation
 * -------------------
 *
 *   client 10.0.0.2:4000 --- bridge --- 10.0.0.1:15432 => 127.0.0.1:5432 service
 *
 *   conntrack   original  10.0.0.2:4000 -> 10.0.0.1:15432    port dialled
 *               reply     127.0.0.1:5432 -> 10.0.0.2:4000    target, and the service's peer
 *   socket      local     127.0.0.1:5432    remote 10.0.0.2:4000
 *
 * The original port, the protocol and the reply's source are the mapping's
 * key and target. Conntrack stores no interface. Addresses do not tell the
 * bridge, either, because two bridges may share a subnet: so the bridge is the
 * device to which the kernel routes the original source.
 *
 * The socket is found by the reply tuple, which is unique; it differs from the
 * original source if somebody translates that on the way in.
 *
 * Sockets go first: their resets need the NAT of the entry. With the entry
 * deleted first, an idle client would hang for ever.
 *
 * Matches are sorted, flows look themselves up, and each source address is
 * routed once, so that 65,000 mappings times 100,000 flows is no product.
 */
#include <errno.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "conntrack.h"
#include "nat-bridge/flow.h"
#include "nat-bridge/route.h"
#include "sockdiag.h"

/* A packet that was on its way through the rules may confirm an entry again. */
#define ROUNDS 3

/* More target ports than this, and one dump of all sockets is cheaper. */
#define PORT_DUMPS 4

static int compare_numbers(uint32_t a, uint32_t b)
{
	return (a > b) - (a < b);
}

/* --- matches, sorted by (protocol, port, target, ifindex) --- */

struct indexed_match {
	struct nb_flow_match match;
	size_t position; /* in the caller's array */
};

struct match_index {
	struct indexed_match *items;
	size_t count;
	bool translated; /* or entries that no NAT touched, which have no target */
	bool sweeps;	 /* some stand for all flows of a bridge, but those of */
	const struct match_index *kept;
};

static int compare_keys(const struct nb_flow_match *a, const struct nb_flow_match *b)
{
	int order = compare_numbers(a->protocol, b->protocol);

	if (order == 0)
		order = compare_numbers(a->port, b->port);
	if (order == 0)
		order = compare_numbers(a->target.address, b->target.address);
	if (order == 0)
		order = compare_numbers(a->target.port, b->target.port);
	return order;
}

static int compare_indexed(const void *a, const void *b)
{
	const struct indexed_match *left = a, *right = b;
	int order = compare_keys(&left->match, &right->match);

	if (order == 0)
		order = compare_numbers((uint32_t)left->match.ifindex,
					(uint32_t)right->match.ifindex);
	return order;
}

static int index_matches(const struct nb_flow_match *matches, size_t count, bool translated,
			 struct match_index *ret, struct nb_error *err)
{
	struct match_index index = { .translated = translated };

	if (count == 0) {
		*ret = index;
		return 0;
	}
	index.items = calloc(count, sizeof(*index.items));
	if (!index.items)
		return nb_error_set(err, NB_STATUS_FAILED, ENOMEM, "memory", "out of memory");
	for (size_t i = 0; i < count; i++) {
		struct indexed_match *item;

		if (!translated && matches[i].protocol != IPPROTO_UDP)
			continue;
		index.sweeps |= matches[i].protocol == 0;
		item = &index.items[index.count++];
		item->match = matches[i];
		item->position = i;
		if (!translated)
			item->match.target = (struct nb_target){ 0 };
	}
	if (index.count)
		qsort(index.items, index.count, sizeof(*index.items), compare_indexed);
	*ret = index;
	return 0;
}

/* The first item that is not below @key. */
static size_t lower_bound(const struct match_index *index, const struct indexed_match *key)
{
	size_t low = 0, high = index->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare_indexed(&index->items[middle], key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct indexed_match key_of(const struct match_index *index,
				   const struct nb_conntrack *entry, int ifindex)
{
	struct indexed_match key = {
		.match = {
			.ifindex = ifindex,
			.protocol = entry->protocol,
			.port = entry->original.destination_port,
		},
	};

	if (index->translated) {
		key.match.target.address = entry->reply.source;
		key.match.target.port = entry->reply.source_port;
	}
	return key;
}

static bool leads_to_loopback(const struct nb_conntrack *entry)
{
	return entry->reply.source >> 24 == IN_LOOPBACKNET;
}

/* Before anything is routed: does any bridge's match fit @entry? */
static bool any_bridge_wants(const struct nb_conntrack *entry, const void *data)
{
	const struct match_index *index = data;
	struct indexed_match key = key_of(index, entry, 0);
	size_t at = lower_bound(index, &key);

	if (index->sweeps && leads_to_loopback(entry))
		return true;
	return at < index->count && compare_keys(&index->items[at].match, &key.match) == 0;
}

static const struct indexed_match *find_exact(const struct match_index *index,
					      const struct indexed_match *key)
{
	size_t at = lower_bound(index, key);

	if (at == index->count || compare_indexed(&index->items[at], key) != 0)
		return NULL;
	return &index->items[at];
}

/* The first of the equal matches that fit, or NULL. */
static const struct indexed_match *find_match(const struct match_index *index,
					      const struct nb_conntrack *entry, int ifindex)
{
	const struct indexed_match whole = { .match.ifindex = ifindex };
	const struct indexed_match key = key_of(index, entry, ifindex);
	const struct indexed_match *found = find_exact(index, &key);

	if (found || !index->sweeps || !leads_to_loopback(entry) ||
	    (index->kept && find_exact(index->kept, &key)))
		return found;
	return find_exact(index, &whole);
}

/* --- routes of addresses, each asked for once --- */

struct known_route {
	uint32_t address;
	struct nb_route route;
};

struct route_cache {
	struct known_route *items; /* sorted by address */
	size_t count;
};

static int compare_addresses(const void *a, const void *b)
{
	const struct known_route *left = a, *right = b;

	return compare_numbers(left->address, right->address);
}

static const struct nb_route *find_route(const struct route_cache *cache, uint32_t address)
{
	struct known_route key = { .address = address };
	const struct known_route *found = NULL;

	if (cache->count)
		found = bsearch(&key, cache->items, cache->count, sizeof(key), compare_addresses);
	return found ? &found->route : NULL;
}

static int route_entries(struct nb_netlink *nl, const struct nb_conntrack_list *entries,
			 bool destinations, struct route_cache *ret, struct nb_error *err)
{
	struct route_cache cache = { 0 };
	size_t unique = 0;
	int r;

	if (entries->count == 0) {
		*ret = cache;
		return 0;
	}
	cache.items = calloc(entries->count * 2, sizeof(*cache.items));
	if (!cache.items)
		return nb_error_set(err, NB_STATUS_FAILED, ENOMEM, "memory", "out of memory");
	for (size_t i = 0; i < entries->count; i++) {
		const struct nb_tuple *original = &entries->items[i].original;

		cache.items[cache.count++].address = original->source;
		if (destinations)
			cache.items[cache.count++].address = original->destination;
	}
	qsort(cache.items, cache.count, sizeof(*cache.items), compare_addresses);
	for (size_t i = 0; i < cache.count; i++) {
		if (unique && cache.items[unique - 1].address == cache.items[i].address)
			continue;
		cache.items[unique].address = cache.items[i].address;
		r = nb_route_lookup(nl, cache.items[unique].address, &cache.items[unique].route,
				    err);
		if (r < 0) {
			free(cache.items);
			return r;
		}
		unique++;
	}
	cache.count = unique;
	*ret = cache;
	return 0;
}

/* --- flows: entries that a match claims --- */

static const struct indexed_match *claim(const struct match_index *index,
					 const struct route_cache *routes,
					 const struct nb_conntrack *entry)
{
	const struct nb_route *source = find_route(routes, entry->original.source);

	if (!source || source->local || source->ifindex == 0)
		return NULL;
	if (!index->translated) {
		const struct nb_route *destination = find_route(routes,
								entry->original.destination);

		/* what passes through to somebody else's address would never be translated */
		if (!destination || !destination->local)
			return NULL;
	}
	return find_match(index, entry, source->ifindex);
}

/*
 * One dump: the entries that belong to a match. @counts, if not NULL, is
 * raised at the position of the first of equal matches.
 */
static int dump_flows(struct nb_netlink *nl, const struct match_index *index, uint64_t *counts,
		      struct nb_conntrack_list *ret, struct nb_error *err)
{
	struct nb_conntrack_list entries = { 0 };
	struct route_cache routes = { 0 };
	size_t kept = 0;
	int r;

	r = nb_conntrack_dump(nl, index->translated ? IPS_DST_NAT : 0, IPS_DST_NAT,
			      any_bridge_wants, index, &entries, err);
	if (r < 0)
		return r;
	r = route_entries(nl, &entries, !index->translated, &routes, err);
	if (r < 0)
		goto out;
	for (size_t i = 0; i < entries.count; i++) {
		const struct indexed_match *owner = claim(index, &routes, &entries.items[i]);

		if (!owner)
			continue;
		if (counts && entries.items[i].tcp_state != TCP_CONNTRACK_TIME_WAIT &&
		    entries.items[i].tcp_state != TCP_CONNTRACK_CLOSE)
			counts[owner->position]++;
		entries.items[kept++] = entries.items[i];
	}
	entries.count = kept;
	*ret = entries;
	entries = (struct nb_conntrack_list){ 0 };
out:
	free(routes.items);
	nb_conntrack_list_clear(&entries);
	return r;
}

static int delete_flows(struct nb_netlink *nl, const struct nb_conntrack_list *flows,
			size_t *deleted, struct nb_error *err)
{
	for (size_t i = 0; i < flows->count; i++) {
		struct nb_netlink_ack ack;
		int r = nb_conntrack_delete(nl, &flows->items[i], &ack);

		if (r == 0)
			(*deleted)++;
		else if (r != -ENOENT)
			return nb_netlink_error(err, &ack, r, "end a tracked connection");
	}
	return 0;
}

/* --- the service's sockets --- */

static int compare_replies(const void *a, const void *b)
{
	const struct nb_conntrack *left = a, *right = b;
	int order = compare_numbers(left->protocol, right->protocol);

	if (order == 0)
		order = compare_numbers(left->reply.source_port, right->reply.source_port);
	if (order == 0)
		order = compare_numbers(left->reply.source, right->reply.source);
	if (order == 0)
		order = compare_numbers(left->reply.destination, right->reply.destination);
	if (order == 0)
		order = compare_numbers(left->reply.destination_port,
					right->reply.destination_port);
	return order;
}

/* Is @socket the end of one of the flows, with exactly its addresses and ports? */
static bool serves_a_flow(const struct nb_socket *socket, const void *data)
{
	const struct nb_conntrack_list *flows = data;
	struct nb_conntrack key = {
		.protocol = socket->protocol,
		.reply = {
			.source = socket->local,
			.source_port = socket->local_port,
			.destination = socket->remote,
			.destination_port = socket->remote_port,
		},
	};

	return bsearch(&key, flows->items, flows->count, sizeof(key), compare_replies) != NULL;
}

/*
 * The distinct target ports of @protocol into @ports, from flows that are sorted by them.
 * Returns how many, 0 if there are none, PORT_DUMPS + 1 if there are more than PORT_DUMPS.
 */
static size_t target_ports(const struct nb_conntrack_list *flows, uint8_t protocol,
			   uint16_t ports[PORT_DUMPS + 1])
{
	size_t count = 0;

	for (size_t i = 0; i < flows->count && count <= PORT_DUMPS; i++) {
		const struct nb_conntrack *flow = &flows->items[i];

		if (flow->protocol != protocol)
			continue;
		if (count == 0 || ports[count - 1] != flow->reply.source_port)
			ports[count++] = flow->reply.source_port;
	}
	return count;
}

static int find_sockets(struct nb_netlink *nl, const struct nb_conntrack_list *flows,
			uint8_t protocol, struct nb_socket_list *sockets,
			struct nb_netlink_ack *ack)
{
	static const uint8_t families[] = { AF_INET, AF_INET6 };
	uint16_t ports[PORT_DUMPS + 1] = { 0 };
	size_t count = target_ports(flows, protocol, ports);

	if (count > PORT_DUMPS) {
		count = 1;
		ports[0] = 0;
	}
	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j < sizeof(families); j++) {
			int r = nb_sockdiag_dump(nl, families[j], protocol, ports[i], serves_a_flow,
						 flows, sockets, ack);

			/* a kernel without IPv6 has no such sockets */
			if (r < 0 && !(r == -ENOENT && families[j] == AF_INET6))
				return r;
		}
	}
	return 0;
}

/* Why a step with sockets did not work; @missing names what the kernel would need for it. */
static void warn_sockets(struct nb_warnings *warnings, const char *step, int number,
			 const struct nb_netlink_ack *ack, const char *missing)
{
	bool lacking = number == -ENOENT || number == -EOPNOTSUPP || number == -EPROTONOSUPPORT;

	nb_warn(warnings,
		"cannot %s of services: %s%s; the connections end without a reset, so that an idle "
		"client notices it late",
		step, lacking ? "the kernel lacks " : "",
		lacking		  ? missing
		: ack->message[0] ? ack->message
				  : strerror(-number));
}

/* Sorts @flows. Whatever fails here is a warning: conntrack and the ruleset end the flow, too. */
static void destroy_sockets(struct nb_netlink *nl, struct nb_conntrack_list *flows,
			    size_t *destroyed, struct nb_warnings *warnings)
{
	struct nb_socket_list sockets = { 0 };
	struct nb_netlink_ack ack = { 0 };
	int r;

	qsort(flows->items, flows->count, sizeof(*flows->items), compare_replies);
	r = find_sockets(nl, flows, IPPROTO_TCP, &sockets, &ack);
	if (r < 0)
		warn_sockets(warnings, "list the TCP sockets", r, &ack, "tcp_diag");
	r = find_sockets(nl, flows, IPPROTO_UDP, &sockets, &ack);
	if (r < 0)
		warn_sockets(warnings, "list the UDP sockets", r, &ack, "udp_diag");

	for (size_t i = 0; i < sockets.count; i++) {
		r = nb_sockdiag_destroy(nl, &sockets.items[i], &ack);
		if (r > 0) {
			(*destroyed)++;
		} else if (r < 0) {
			warn_sockets(warnings, "close the sockets", r, &ack,
				     "CONFIG_INET_DIAG_DESTROY");
			break;
		}
	}
	nb_socket_list_clear(&sockets);
}

int nb_flow_end(struct nb_netlink *nl, const struct nb_flow_match *matches, size_t count,
		const struct nb_flow_match *kept, size_t kept_count, struct nb_flow_result *ret,
		struct nb_warnings *warnings, struct nb_error *err)
{
	struct match_index index = { 0 }, kept_index = { 0 };
	struct nb_flow_result result = { 0 };
	int r;

	r = index_matches(matches, count, true, &index, err);
	if (r == 0)
		r = index_matches(kept, kept_count, true, &kept_index, err);
	if (r < 0) {
		free(index.items);
		return r;
	}
	index.kept = &kept_index;
	for (int round = 0; round < ROUNDS && index.count; round++) {
		struct nb_conntrack_list flows = { 0 };
		size_t found;

		r = dump_flows(nl, &index, NULL, &flows, err);
		if (r < 0)
			break;
		found = flows.count;
		if (found) {
			destroy_sockets(nl, &flows, &result.sockets, warnings);
			r = delete_flows(nl, &flows, &result.flows, err);
		}
		nb_conntrack_list_clear(&flows);
		if (r < 0 || found == 0)
			break;
	}
	free(index.items);
	free(kept_index.items);
	if (r < 0)
		return r;
	*ret = result;
	return 0;
}

int nb_flow_free_untranslated(struct nb_netlink *nl, const struct nb_flow_match *matches,
			      size_t count, struct nb_error *err)
{
	struct match_index index = { 0 };
	size_t deleted = 0;
	int r;

	r = index_matches(matches, count, false, &index, err);
	if (r < 0)
		return r;
	for (int round = 0; round < ROUNDS && index.count; round++) {
		struct nb_conntrack_list flows = { 0 };
		size_t found;

		r = dump_flows(nl, &index, NULL, &flows, err);
		if (r < 0)
			break;
		found = flows.count;
		r = delete_flows(nl, &flows, &deleted, err);
		nb_conntrack_list_clear(&flows);
		if (r < 0 || found == 0)
			break;
	}
	free(index.items);
	return r < 0 ? r : (int)deleted;
}

int nb_flow_count(struct nb_netlink *nl, const struct nb_flow_match *matches, size_t count,
		  uint64_t *counts, struct nb_error *err)
{
	struct nb_conntrack_list flows = { 0 };
	struct match_index index = { 0 };
	uint64_t *found;
	int r;

	if (count == 0)
		return 0;
	found = calloc(count, sizeof(*found));
	if (!found)
		return nb_error_set(err, NB_STATUS_FAILED, ENOMEM, "memory", "out of memory");
	r = index_matches(matches, count, true, &index, err);
	if (r < 0)
		goto out_found;
	r = dump_flows(nl, &index, found, &flows, err);
	if (r < 0)
		goto out_index;
	/* equal matches stand side by side, and the first of them was counted */
	for (size_t i = 1; i < index.count; i++) {
		if (compare_indexed(&index.items[i - 1], &index.items[i]) == 0)
			found[index.items[i].position] = found[index.items[i - 1].position];
	}
	memcpy(counts, found, count * sizeof(*found));
	nb_conntrack_list_clear(&flows);
out_index:
	free(index.items);
out_found:
	free(found);
	return r;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Engines that answer well, badly, too much, too slowly, and not at all. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dir.h"
#include "engine/engine.h"
#include "engine/http.h"
#include "unit.h"

#define SOCKET "engine.sock"
#define OK     "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n"

static pid_t server;
static struct nb_http_answer http;
static struct nb_engine_answer answer;
static char why[256];

static void setup(void)
{
	dir_enter();
	server = 0;
}

static void stop(void)
{
	if (server > 0) {
		kill(server, SIGKILL);
		waitpid(server, NULL, 0);
	}
	server = 0;
	unlink(SOCKET);
	nb_http_answer_clear(&http);
	nb_engine_answer_clear(&answer);
}

static void teardown(void)
{
	stop();
	dir_leave();
}

enum manner {
	AT_ONCE,
	BYTE_BY_BYTE,
	NEVER_CLOSES,
	SILENT,
	ENDLESS, /* repeats the text */
	DRIPS,	 /* a byte now and then, for ever */
};

static void talk(int fd, enum manner manner, const char *text, size_t length)
{
	char request[4096];
	size_t got = 0;

	while (got < sizeof(request) - 1 && (got < 4 || memcmp(request + got - 4, "\r\n\r\n", 4))) {
		ssize_t n = read(fd, request + got, 1);

		if (n <= 0)
			return;
		got += (size_t)n;
	}
	switch (manner) {
	case AT_ONCE:
	case NEVER_CLOSES:
		if (write(fd, text, length) < 0)
			return;
		break;
	case BYTE_BY_BYTE:
		for (size_t i = 0; i < length; i++)
			if (write(fd, text + i, 1) != 1)
				return;
		break;
	case ENDLESS:
		if (write(fd, OK, strlen(OK)) < 0)
			return;
		while (write(fd, text, length) > 0)
			;
		break;
	case DRIPS:
		while (write(fd, text, 1) > 0)
			poll(NULL, 0, 20);
		break;
	case SILENT:
		break;
	}
	if (manner == NEVER_CLOSES || manner == SILENT)
		pause();
}

/* A server for one request. */
static void serve(enum manner manner, const char *text, size_t length)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = SOCKET };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	stop();
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(fd, 4), 0);
	server = fork();
	ck_assert_int_ge(server, 0);
	if (server == 0) {
		signal(SIGPIPE, SIG_IGN);
		for (;;) {
			int peer = accept(fd, NULL, NULL);

			talk(peer, manner, text, length);
			close(peer);
		}
	}
	close(fd);
}

static void serve_text(enum manner manner, const char *text)
{
	serve(manner, text, strlen(text));
}

static int get(int wait_ms)
{
	nb_http_answer_clear(&http);
	why[0] = '\0';
	return nb_http_get(SOCKET, "/x", wait_ms, &http, why, sizeof(why));
}

START_TEST(every_way_to_send_a_body)
{
	static const char *const answers[] = {
		"HTTP/1.0 200 OK\r\n\r\n[1,2]",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n[1,2]",
		"HTTP/1.1 200 OK\r\nserver: x\r\ncontent-length:5\r\n\r\n[1,2] and what is beyond",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[1,2]\r\n0\r\n\r\n",
		("HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n"
		 "1;ext=1\r\n[\r\n3\r\n1,2\r\n1\r\n]\r\n0\r\nTrailer: x\r\n\r\n"),
	};

	for (size_t i = 0; i < COUNT(answers); i++) {
		for (int manner = AT_ONCE; manner <= BYTE_BY_BYTE; manner++) {
			serve_text((enum manner)manner, answers[i]);
			ck_assert_msg(get(5000) == 0, "%s: %s", answers[i], why);
			ck_assert_int_eq(http.status, 200);
			ck_assert_uint_eq(http.length, 5);
			ck_assert_str_eq(http.body, "[1,2]");
		}
	}
	/* whole, though the server does not hang up */
	for (size_t i = 1; i < COUNT(answers); i++) {
		serve_text(NEVER_CLOSES, answers[i]);
		ck_assert_int_eq(get(5000), 0);
		ck_assert_str_eq(http.body, "[1,2]");
	}
	serve_text(AT_ONCE, "HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n");
	ck_assert_int_eq(get(5000), 0);
	ck_assert_int_eq(http.status, 404);
	ck_assert_uint_eq(http.length, 0);
}
END_TEST

START_TEST(what_is_no_http)
{
	static const char *const answers[] = {
		"",
		"\r\n\r\n",
		"hello",
		"HTTP/2 200\r\n\r\n",
		"HTTP/1.0 20 OK\r\n\r\n[]",
		"HTTP/1.0 2000 OK\r\n\r\n[]",
		"HTTP/1.0 abc OK\r\n\r\n[]",
		"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n[1,",
		"HTTP/1.0 200 OK\r\nContent-Length: five\r\n\r\n[1,2]",
		"HTTP/1.0 200 OK\r\nContent-Length: -5\r\n\r\n[1,2]",
		"HTTP/1.0 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n[1,2]",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n[1,2]",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[1,2]",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[1,2]XX0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n[1,2]\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n[]\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7fffffff\r\n[]\r\n0\r\n\r\n",
	};

	for (size_t i = 0; i < COUNT(answers); i++) {
		serve_text(AT_ONCE, answers[i]);
		ck_assert_msg(get(5000) == -EPROTO, "%zu: %s: %s", i, answers[i], why);
		ck_assert_ptr_null(http.body);
		ck_assert_str_ne(why, "");
	}
}
END_TEST

START_TEST(too_much_and_too_slow)
{
	static char megabyte[1 << 20];

	memset(megabyte, ' ', sizeof(megabyte));
	serve(ENDLESS, megabyte, sizeof(megabyte));
	ck_assert_int_eq(get(60000), -EFBIG);
	serve_text(AT_ONCE, "HTTP/1.0 200 OK\r\nContent-Length: 100000000\r\n\r\n[]");
	ck_assert_int_eq(get(5000), -EFBIG);
	serve_text(SILENT, "");
	ck_assert_int_eq(get(100), -ETIMEDOUT);
	serve_text(NEVER_CLOSES, OK "[");
	ck_assert_int_eq(get(100), -ETIMEDOUT);
	/* each byte comes in time, all of them do not */
	serve_text(DRIPS, "H");
	ck_assert_int_eq(get(200), -ETIMEDOUT);
}
END_TEST

START_TEST(nobody_there)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = SOCKET };
	char path[200];
	int fd, peers[64], count = 0;

	ck_assert_int_eq(get(1000), -ENOENT);
	dir_write(SOCKET, "");
	ck_assert_int_eq(get(1000), -ECONNREFUSED);
	unlink(SOCKET);
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	ck_assert_int_eq(nb_http_get(path, "/", 1000, &http, why, sizeof(why)), -ENAMETOOLONG);

	/* it listens, but does not accept any more */
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(fd, 0), 0);
	for (int r = 0; r == 0 && count < 64; count++) {
		peers[count] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
		r = connect(peers[count], (const struct sockaddr *)&address, sizeof(address));
	}
	ck_assert_int_lt(count, 64);
	ck_assert_int_eq(get(100), -ETIMEDOUT);
	while (count)
		close(peers[--count]);
	close(fd);
}
END_TEST

static void ask(enum nb_engine engine)
{
	const struct nb_engine_places places = {
		.docker = SOCKET,
		.podman = SOCKET,
		.podman_networks = "networks",
	};

	nb_engine_answer_clear(&answer);
	ck_assert_int_eq(nb_engine_ask(engine, &places, &answer), 0);
	ck_assert_msg(answer.known == !answer.why[0], "%s", answer.why);
}

static const char *bridge_of(const char *name)
{
	const struct nb_engine_network *network = nb_engine_find(&answer, name);

	ck_assert_msg(network != NULL, "no %s", name);
	ck_assert(!network->bridge[0] == (network->instead != NULL));
	return network->bridge;
}

START_TEST(networks_of_docker)
{
	static const char text[] = OK
		"[{\"Name\":\"web\",\"Id\":\"0123456789abcdef\",\"Driver\":\"bridge\","
		"\"Options\":{}},"
		"{\"Name\":\"bridge\",\"Id\":\"00\",\"Driver\":\"bridge\",\"Options\":"
		"{\"com.docker.network.bridge.name\":\"docker0\"}},"
		"{\"Name\":\"agents\",\"Id\":\"fedcba9876543210\",\"Driver\":\"bridge\","
		"\"Internal\":true,\"Options\":null},"
		"{\"Name\":\"bad\",\"Id\":\"01\",\"Driver\":\"bridge\",\"Options\":"
		"{\"com.docker.network.bridge.name\":\"br 0\\\"; drop\"}},"
		"{\"Name\":\"short\",\"Id\":\"01\",\"Driver\":\"bridge\"},"
		"{\"Name\":\"host\",\"Id\":\"0123456789ab\",\"Driver\":\"host\"},"
		"{\"Name\":\"none\",\"Id\":\"0123456789ab\",\"Driver\":\"null\"},"
		"{\"Name\":\"lan\",\"Id\":\"0123456789ab\",\"Driver\":\"macvlan\"},"
		"{\"Name\":\"swarm\",\"Id\":\"0123456789ab\",\"Driver\":\"overlay\"},"
		"{\"Name\":\"weave\",\"Id\":\"0123456789ab\",\"Driver\":\"weavemesh\"},"
		"{\"Name\":\"tmpl\",\"Id\":\"0123456789ab\",\"Driver\":\"bridge\","
		"\"ConfigOnly\":true},"
		"{\"Name\":\"a b\",\"Id\":\"0123456789ab\",\"Driver\":\"bridge\"},"
		"{\"Name\":7,\"Id\":[],\"Driver\":{}},{},7,null,\"x\"]";

	serve_text(AT_ONCE, text);
	ask(NB_ENGINE_DOCKER);
	ck_assert(answer.known);
	ck_assert_uint_eq(answer.count, 11);
	ck_assert_str_eq(bridge_of("web"), "br-0123456789ab");
	ck_assert(!nb_engine_find(&answer, "web")->internal);
	ck_assert_str_eq(bridge_of("bridge"), "docker0");
	ck_assert_str_eq(bridge_of("agents"), "br-fedcba987654");
	ck_assert(nb_engine_find(&answer, "agents")->internal);
	for (size_t i = 0; i < 8; i++) {
		static const char *const none[] = { "bad", "short", "host",  "none",
						    "lan", "swarm", "weave", "tmpl" };

		ck_assert_str_eq(bridge_of(none[i]), "");
	}
	ck_assert_ptr_null(nb_engine_find(&answer, "a b"));
}
END_TEST

START_TEST(an_engine_that_is_not_well)
{
	static const struct {
		const char *text, *clause;
	} rows[] = {
		{ "HTTP/1.0 500 Oops\r\n\r\n{}", "500" },
		{ OK "{}", "gave an answer" },
		{ OK "[{\"Name\":\"web\",", "gave an answer" },
		{ OK "", "gave an answer" },
		{ OK "[] []", NULL },
		{ "gibberish", "no HTTP" },
		/* a NUL would cut a name short; an escaped backslash in front of letters would not */
		{ OK "[{\"Name\":\"web\\u0000x\"}]", "gave an answer" },
		{ OK "[{\"Labels\":{\"a\":\"\\\\\\u0000\"}}]", "gave an answer" },
		{ OK "[{\"Labels\":{\"a\":\"\\\\u0000\"}}]", NULL },
		{ OK "[{\"Labels\":{\"a\":\"\\\\\\\\u0000\"}}]", NULL },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		serve_text(AT_ONCE, rows[i].text);
		ask(NB_ENGINE_DOCKER);
		ck_assert_msg(answer.known == !rows[i].clause, "%s", rows[i].text);
		ck_assert_uint_eq(answer.count, 0);
		if (rows[i].clause)
			ck_assert_msg(strstr(answer.why, rows[i].clause), "%s", answer.why);
	}
	stop();
	ask(NB_ENGINE_DOCKER);
	ck_assert(!answer.known);
	ck_assert_msg(strstr(answer.why, "systemctl start docker"), "%s", answer.why);
}
END_TEST

START_TEST(networks_of_podman)
{
	static const char web[] = "{\"name\":\"web\",\"id\":\"00\",\"driver\":\"bridge\","
				  "\"network_interface\":\"podman1\",\"internal\":true}";
	char text[512];

	/* without a service and without files there is no Podman here */
	ask(NB_ENGINE_PODMAN);
	ck_assert(!answer.known);
	/* the files */
	ck_assert_int_eq(mkdir("networks", 0755), 0);
	ask(NB_ENGINE_PODMAN);
	ck_assert(answer.known);
	ck_assert_str_eq(bridge_of("podman"), "podman0");
	dir_write("networks/web.json", web);
	dir_write("networks/broken.json", "{\"name\":");
	dir_write("networks/empty.json", "");
	dir_write("networks/cut.json", "{\"name\":\"cut\\u0000short\",\"driver\":\"bridge\","
				       "\"network_interface\":\"podman7\"}");
	dir_write("networks/netavark.lock", web);
	ck_assert_int_eq(mkdir("networks/dir.json", 0755), 0);
	ask(NB_ENGINE_PODMAN);
	ck_assert_uint_eq(answer.count, 2);
	ck_assert_str_eq(bridge_of("web"), "podman1");
	ck_assert(nb_engine_find(&answer, "web")->internal);
	/* the service goes before the files */
	snprintf(text, sizeof(text), OK "[%s,{\"name\":\"other\",\"driver\":\"macvlan\"}]", web);
	serve_text(AT_ONCE, text);
	ask(NB_ENGINE_PODMAN);
	ck_assert_uint_eq(answer.count, 2);
	ck_assert_str_eq(bridge_of("other"), "");
	ck_assert_ptr_null(nb_engine_find(&answer, "podman"));
	/* one that has not this interface: the files again */
	serve_text(AT_ONCE, "HTTP/1.0 404 Not Found\r\n\r\n{}");
	ask(NB_ENGINE_PODMAN);
	ck_assert(answer.known);
	ck_assert_str_eq(bridge_of("podman"), "podman0");
}
END_TEST

START_TEST(who_publishes_a_port)
{
	static const char docker[] = OK
		"[{\"Names\":[\"/local\"],\"Ports\":[{\"IP\":\"127.0.0.1\",\"PublicPort\":80,"
		"\"Type\":\"tcp\"}]},{\"Names\":[\"/web\"],\"Ports\":[{\"IP\":\"0.0.0.0\","
		"\"PrivatePort\":81,\"PublicPort\":80,\"Type\":\"tcp\"}]}]";
	static const char podman[] = OK
		"[{\"Names\":[\"plain\"],\"Ports\":[{\"host_ip\":\"\",\"host_port\":80,\"range\":1,"
		"\"protocol\":\"tcp\"}]},{\"Names\":[\"many\"],\"Ports\":[{\"host_ip\":\"\","
		"\"host_port\":9000,\"container_port\":9000,\"range\":4,\"protocol\":\"tcp\"}]}]";
	static const struct {
		enum nb_engine engine;
		uint8_t protocol;
		uint16_t port;
		const char *name;
	} rows[] = {
		{ NB_ENGINE_DOCKER, IPPROTO_TCP, 80, "web" },
		{ NB_ENGINE_DOCKER, IPPROTO_UDP, 80, "" },
		{ NB_ENGINE_DOCKER, IPPROTO_TCP, 81, "" },
		{ NB_ENGINE_PODMAN, IPPROTO_TCP, 80, "plain" },
		{ NB_ENGINE_PODMAN, IPPROTO_TCP, 81, "" },
		{ NB_ENGINE_PODMAN, IPPROTO_TCP, 8999, "" },
		{ NB_ENGINE_PODMAN, IPPROTO_TCP, 9000, "many" },
		{ NB_ENGINE_PODMAN, IPPROTO_TCP, 9003, "many" },
		{ NB_ENGINE_PODMAN, IPPROTO_TCP, 9004, "" },
		{ NB_ENGINE_PODMAN, IPPROTO_UDP, 9003, "" },
	};
	const struct nb_engine_places places = { .docker = SOCKET, .podman = SOCKET };

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct nb_engine_published_list list;
		const char *name = "";

		serve_text(AT_ONCE, rows[i].engine == NB_ENGINE_PODMAN ? podman : docker);
		ck_assert_int_eq(nb_engine_ask_published(rows[i].engine, &places, &list), 0);
		for (size_t j = 0; j < list.count; j++)
			if (list.items[j].port == rows[i].port &&
			    list.items[j].protocol == rows[i].protocol)
				name = list.items[j].container;
		ck_assert_str_eq(name, rows[i].name);
		nb_engine_published_list_clear(&list);
	}
}
END_TEST

START_TEST(addresses_of_sockets)
{
	static const char *const bad[] = {
		"tcp://127.0.0.1:2375",	  "ssh://root@host", "unix://", "",
		"unix://run/docker.sock", "docker.sock",     "fd://"
	};
	const char *path = NULL;

	ck_assert_int_eq(nb_engine_socket_parse("unix:///run/x.sock", &path, why, sizeof(why)), 0);
	ck_assert_str_eq(path, "/run/x.sock");
	ck_assert_int_eq(nb_engine_socket_parse("/run/y.sock", &path, why, sizeof(why)), 0);
	ck_assert_str_eq(path, "/run/y.sock");
	for (size_t i = 0; i < COUNT(bad); i++) {
		ck_assert_int_eq(nb_engine_socket_parse(bad[i], &path, why, sizeof(why)), -EINVAL);
		ck_assert_str_ne(why, "");
	}
	ck_assert_str_eq(path, "/run/y.sock");
}
END_TEST

static void add(Suite *suite, const char *name, const TTest *test)
{
	unit_add_between(suite, name, test, setup, teardown);
}

int main(void)
{
	Suite *suite = suite_create("engine");

	add(suite, "every_way_to_send_a_body", every_way_to_send_a_body);
	add(suite, "what_is_no_http", what_is_no_http);
	add(suite, "too_much_and_too_slow", too_much_and_too_slow);
	add(suite, "nobody_there", nobody_there);
	add(suite, "networks_of_docker", networks_of_docker);
	add(suite, "an_engine_that_is_not_well", an_engine_that_is_not_well);
	add(suite, "networks_of_podman", networks_of_podman);
	add(suite, "who_publishes_a_port", who_publishes_a_port);
	add(suite, "addresses_of_sockets", addresses_of_sockets);
	return unit_run(suite);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What every unit test program shares. */
#ifndef NAT_BRIDGE_UNIT_H
#define NAT_BRIDGE_UNIT_H

#include <check.h>
#include <stdlib.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Run @suite and end the program: 0 when all passed. Check prints its closing line. */
static inline int unit_run(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	int failed;

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* One test case for one test function, between @before and @after. */
static inline void unit_add_between(Suite *suite, const char *name, const TTest *test,
				    void (*before)(void), void (*after)(void))
{
	TCase *tcase = tcase_create(name);

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, before, after);
	tcase_add_test(tcase, test);
	suite_add_tcase(suite, tcase);
}

static inline void unit_add(Suite *suite, const char *name, const TTest *test)
{
	unit_add_between(suite, name, test, NULL, NULL);
}

#endif
